// Our TCP proxy with no fault in it beside HAProxy (mode tcp), nginx (stream) and a proxy of the usual shape
// in Go, one after the other in the same run, and what its latency toxic adds to the bare timer's own
// lateness. The proxy on the second CPU, everybody else on the first.
//
//   proxy_bench [SECONDS [ROUNDS [PART...]]]     PART: throughput, trips, connects, idle, latency; all
//   without any. Root is not needed
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "injector/system/process.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int connections = 64, stretches = 9;
constexpr std::int64_t apart_ns =
    50'000'000 / connections;  // what is paced: each connection asks 20 times a second

void pin(pid_t pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(pid, sizeof set, &set) != 0) std::perror("pin to a CPU");
}

// A process and its children.
template <class Each>
void family(pid_t pid, const Each& each) {
  each(pid);
  std::ifstream children{"/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"};
  for (pid_t child = 0; children >> child;)
    family(child, each);
}

// Each of their threads.
template <class Each>
void threads(pid_t root, const Each& each) {
  family(root, [&](pid_t pid) {
    std::error_code gone;
    for (auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone))
      each(task.path());
  });
}

double cpu_seconds(pid_t root) {
  double out = 0;
  threads(root, [&](const std::filesystem::path& task) {
    // Nanoseconds on a processor, system calls included (proc(5), schedstat).
    std::ifstream file{task / "schedstat"};
    double ns = 0;
    file >> ns;
    out += ns / 1e9;
  });
  return out;
}

double resident_mib(pid_t root) {
  double out = 0;
  family(root, [&](pid_t pid) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/smaps_rollup"};
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("Pss:")) out += std::strtod(line.c_str() + 4, nullptr) / 1024;
  });
  return out;
}

int listen_on(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  if (::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(socket, 8192) != 0)
    throw std::runtime_error("listen");
  return socket;
}

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  sockaddr_in at{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  if (::connect(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
    throw std::runtime_error("connect to " + std::to_string(port) + ": " + std::strerror(errno));
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const timeval patience{10, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return socket;
}

// The server writes when it sent it behind the first byte of a message that begins so.
constexpr char timed = 't';
std::int64_t realtime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Behind all proxies, a process of its own: what begins with 's' is swallowed, anything else comes back.
class Server {
 public:
  explicit Server(std::uint16_t port) {
    const int socket = listen_on(port);
    pid_ = ::fork();
    if (pid_ == 0) serve(socket);
    ::close(socket);
  }
  ~Server() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  [[noreturn]] static void serve(int listener) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int epoll = ::epoll_create1(0);
    epoll_event event{EPOLLIN, {.fd = listener}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    std::vector<char> buffer(1 << 20);
    std::vector<char> sinks(1 << 16);
    for (epoll_event events[256];;) {
      const int ready = ::epoll_wait(epoll, events, 256, -1);
      for (int i = 0; i < ready; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener) {
          for (int client;
               (client = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
            const int yes = 1;
            ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            sinks[static_cast<std::size_t>(client)] = 0;
            event = {EPOLLIN, {.fd = client}};
            ::epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
          }
          continue;
        }
        auto& sink = sinks[static_cast<std::size_t>(fd)];
        // Swallowed by the kernel, so that what is measured is the proxy (tcp(7), MSG_TRUNC).
        const auto got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT | (sink == 1 ? MSG_TRUNC : 0));
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
          ::close(fd);
          continue;
        }
        if (got < 0) continue;
        if (sink == 0) sink = buffer[0] == 's' ? 1 : 2;
        if (buffer[0] == timed) {
          const auto now = realtime_ns();
          std::memcpy(&buffer[1], &now, sizeof now);
        }
        if (sink == 2) ::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
  }
  pid_t pid_;
};

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double at(std::vector<double>& all, double share) {
  std::sort(all.begin(), all.end());
  return all.empty() ? 0 : all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
}

struct Figures {
  std::vector<double> gb_per_s, cpu_per_gb, rtt_p50, rtt_p99, per_s, cpu_per_connection;
};

void throughput(std::uint16_t port, pid_t proxy, double seconds, Figures& out) {
  std::vector<int> sockets;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<char> data(256 << 10, 's');
  for (int i = 0; i < connections; ++i) {
    sockets.push_back(connect_to(port));
    epoll_event event{EPOLLOUT, {.fd = sockets.back()}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, sockets.back(), &event);
  }
  double bytes = 0;
  auto run = [&](double until) {
    const auto begin = Clock::now();
    for (epoll_event events[connections]; since(begin) < until;) {
      const int ready = ::epoll_wait(epoll, events, connections, 100);
      for (int i = 0; i < ready; ++i)
        if (const auto sent =
                ::send(events[i].data.fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            sent > 0)
          bytes += static_cast<double>(sent);
    }
    return since(begin);
  };
  run(0.3);
  bytes = 0;
  const auto cpu = proxy ? cpu_seconds(proxy) : 0;
  const auto took = run(seconds);
  out.gb_per_s.push_back(bytes / 1e9 / took);
  if (proxy) out.cpu_per_gb.push_back((cpu_seconds(proxy) - cpu) / (bytes / 1e9));
  for (int socket : sockets)
    ::close(socket);
  ::close(epoll);
}

void round_trips(std::uint16_t port, int count, Figures& out) {
  const int socket = connect_to(port);
  char text[64] = "e";
  std::vector<double> all;
  for (int i = 0; i < count + 500; ++i) {
    const auto begin = Clock::now();
    ::send(socket, text, sizeof text, MSG_NOSIGNAL);
    if (::recv(socket, text, sizeof text, MSG_WAITALL) != sizeof text) throw std::runtime_error("no echo");
    if (i >= 500) all.push_back(since(begin) * 1e6);
  }
  ::close(socket);
  out.rtt_p50.push_back(at(all, 0.5));
  out.rtt_p99.push_back(at(all, 0.99));
}

// 32 at a time: connected, asked, answered, reset.
void connects(std::uint16_t port, pid_t proxy, double seconds, Figures& out) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  const sockaddr_in to{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  std::set<int> open;
  auto begin_one = [&] {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    open.insert(socket);
    const linger reset{1, 0};  // no TIME_WAIT: ports would run out
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    epoll_event event{EPOLLOUT, {.fd = socket}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
  };
  for (int i = 0; i < 32; ++i)
    begin_one();
  const auto begin = Clock::now();
  const auto cpu = proxy ? cpu_seconds(proxy) : 0;
  int count = 0;
  for (epoll_event events[32]; since(begin) < seconds;) {
    const int ready = ::epoll_wait(epoll, events, 32, 100);
    for (int i = 0; i < ready; ++i) {
      const int socket = events[i].data.fd;
      char byte = 'e';
      if (events[i].events & EPOLLIN) {
        if (::recv(socket, &byte, 1, 0) == 1) ++count;
        open.erase(socket);
        ::close(socket);
        begin_one();
      } else if (events[i].events & (EPOLLERR | EPOLLHUP)) {
        throw std::runtime_error("a connection failed");
      } else {
        ::send(socket, &byte, 1, MSG_NOSIGNAL);
        epoll_event event{EPOLLIN, {.fd = socket}};
        ::epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event);
      }
    }
  }
  const auto took = since(begin);
  out.per_s.push_back(count / took);
  if (proxy) out.cpu_per_connection.push_back((cpu_seconds(proxy) - cpu) / count * 1e6);
  for (int socket : open)
    ::close(socket);
  ::close(epoll);
}

double idle(std::uint16_t port, pid_t proxy, int count) {
  std::vector<int> sockets;
  for (int i = 0; i < count; ++i) {
    sockets.push_back(connect_to(port));
    char byte = 'e';
    ::send(sockets.back(), &byte, 1, MSG_NOSIGNAL);
    if (::recv(sockets.back(), &byte, 1, 0) != 1) throw std::runtime_error("no echo");
  }
  const auto out = resident_mib(proxy);
  for (int socket : sockets)
    ::close(socket);
  return out;
}

std::vector<double> read_all(int fd) {
  std::vector<double> out;
  for (double one = 0; ::read(fd, &one, sizeof one) == sizeof one;)
    out.push_back(one);
  ::close(fd);
  return out;
}
// How late a bare timer is on the proxy's CPU that is due as often as answers are, in microseconds, told
// through a pipe.
int time_bare(double seconds) {
  int told[2];
  if (::pipe(told) != 0) throw std::runtime_error("pipe");
  if (::fork() == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1);
    pin(0, 1);
    const auto begin = Clock::now();
    for (auto until_ns = monotonic_ns() + apart_ns; since(begin) < seconds; until_ns += apart_ns) {
      const timespec until{until_ns / 1'000'000'000, until_ns % 1'000'000'000};
      ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
      const double late = static_cast<double>(monotonic_ns() - until_ns) / 1e3;
      if (::write(told[1], &late, sizeof late) != sizeof late) ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(told[1]);
  return told[0];
}

// Connections that ask 20 times a second each, evenly spread: how long after the server had sent them the
// answers reached the client's socket, in microseconds. By the kernel's clock there (SO_TIMESTAMPNS,
// socket(7)), since whatever else is at work on the client's and the server's CPU is not the proxy's doing.
std::vector<double> paced(std::uint16_t port, double seconds) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC), yes = 1;
  std::vector<int> sockets;
  char text[64] = {timed};
  for (int i = 0; i < connections; ++i) {
    sockets.push_back(connect_to(port));
    ::setsockopt(sockets.back(), SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    epoll_event event{EPOLLIN, {.fd = sockets.back()}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, sockets.back(), &event);
  }
  std::vector<double> out;
  auto answered = [&](int socket) {
    iovec into{text, sizeof text};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))];
    msghdr message{.msg_name = nullptr,
                   .msg_namelen = 0,
                   .msg_iov = &into,
                   .msg_iovlen = 1,
                   .msg_control = control,
                   .msg_controllen = sizeof control,
                   .msg_flags = 0};
    if (::recvmsg(socket, &message, MSG_DONTWAIT) != sizeof text) return;
    const auto* stamp = CMSG_FIRSTHDR(&message);
    if (!stamp || stamp->cmsg_type != SCM_TIMESTAMPNS) throw std::runtime_error("no time of arrival");
    timespec arrived{};
    std::int64_t sent = 0;
    std::memcpy(&arrived, CMSG_DATA(stamp), sizeof arrived);
    std::memcpy(&sent, text + 1, sizeof sent);
    out.push_back(static_cast<double>(arrived.tv_sec * 1'000'000'000 + arrived.tv_nsec - sent) / 1e3);
  };
  const auto begin = Clock::now();
  std::int64_t next = 0;
  for (epoll_event events[connections]; since(begin) < seconds;) {
    const auto due = begin + std::chrono::nanoseconds{next * apart_ns};
    const auto pause = std::max<std::int64_t>(std::chrono::nanoseconds{due - Clock::now()}.count(), 0);
    const timespec patience{pause / 1'000'000'000, pause % 1'000'000'000};
    const int ready = ::epoll_pwait2(epoll, events, connections, &patience, nullptr);
    for (int i = 0; i < ready; ++i)
      answered(events[i].data.fd);
    if (Clock::now() < due) continue;
    text[0] = timed;
    ::send(sockets[static_cast<std::size_t>(next++ % connections)], text, sizeof text, MSG_NOSIGNAL);
  }
  for (int socket : sockets)
    ::close(socket);
  ::close(epoll);
  return out;
}

void api(std::uint16_t port, const std::string& path, const std::string& body) {
  test::run({"curl", "-sf", "-X", "POST", "-d", body, "http://127.0.0.1:" + std::to_string(port) + path});
}

struct Proxy {
  std::string name;
  std::uint16_t port = 0;
  std::unique_ptr<test::ServerProcess> process;
  std::uint16_t control = 0;
  pid_t pid() const { return process ? process->pid() : 0; }
};

std::vector<Proxy> start_all(const test::TemporaryDirectory& files, std::uint16_t server) {
  std::vector<Proxy> out;
  out.push_back({"direct", server, nullptr});
  {
    const auto control = test::free_port(), port = test::free_port();
    auto process = std::make_unique<test::ServerProcess>(
        test::ServerProcess::Start{.command = {test::bin_dir() + "/squall", "toxiproxy", "--listen",
                                               "127.0.0.1:" + std::to_string(control)},
                                   .port = control,
                                   .user = {}});
    api(control, "/proxies",
        R"({"name":"bench","listen":"127.0.0.1:)" + std::to_string(port) + R"(","upstream":"127.0.0.1:)" +
            std::to_string(server) + R"("})");
    out.push_back({"squall", port, std::move(process), control});
  }
  {
    const auto port = test::free_port();
    const auto path =
        files.write("haproxy.cfg",
                    "global\n  nbthread 1\n  maxconn 9960\ndefaults\n  mode tcp\n  timeout connect 5s\n  "
                    "timeout client 1h\n  timeout server 1h\nlisten bench\n  bind 127.0.0.1:" +
                        std::to_string(port) + "\n  server one 127.0.0.1:" + std::to_string(server) + "\n");
    out.push_back({"haproxy", port,
                   std::make_unique<test::ServerProcess>(test::ServerProcess::Start{
                       .command = {"/usr/sbin/haproxy", "-f", path, "-db"}, .port = port, .user = {}})});
  }
  if (std::filesystem::exists("/usr/lib/nginx/modules/ngx_stream_module.so")) {
    const auto port = test::free_port();
    const auto path = files.write(
        "nginx.conf",
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\npid " +
            (files.path() / "pid").string() +
            ";\nworker_rlimit_nofile 20000;\nevents { worker_connections 19990; }\nstream { server { listen "
            "127.0.0.1:" +
            std::to_string(port) + " backlog=4096; proxy_pass 127.0.0.1:" + std::to_string(server) +
            "; } }\n");
    out.push_back(
        {"nginx", port,
         std::make_unique<test::ServerProcess>(test::ServerProcess::Start{
             .command = {"/usr/sbin/nginx", "-e", "stderr", "-c", path}, .port = port, .user = {}})});
  } else {
    std::printf("nginx: no stream module here (Debian's package libnginx-mod-stream)\n");
  }
  if (std::filesystem::exists("/usr/bin/go")) {
    const auto port = test::free_port();
    const auto program = (files.path() / "go_proxy").string();
    test::run({"env", "GOCACHE=" + (files.path() / "go").string(), "GO111MODULE=off", "/usr/bin/go", "build",
               "-o", program, test::source_dir() + "/tests/bench/go_proxy.go"});
    out.push_back({"go", port,
                   std::make_unique<test::ServerProcess>(test::ServerProcess::Start{
                       .command = {"env", "GOMAXPROCS=1", program, "127.0.0.1:" + std::to_string(port),
                                   "127.0.0.1:" + std::to_string(server)},
                       .port = port,
                       .user = {}})});
  } else {
    std::printf("go: not here (Debian's package golang-go)\n");
  }
  for (auto& proxy : out)
    if (proxy.pid())
      threads(proxy.pid(), [](const std::filesystem::path& task) { pin(std::stoi(task.filename()), 1); });
  return out;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  using namespace squall;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  const std::set<std::string> parts(argv + std::min(argc, 3), argv + argc);
  auto wants = [&](const char* part) { return parts.empty() || parts.contains(part); };
  rlimit files_limit{};
  ::getrlimit(RLIMIT_NOFILE, &files_limit);
  files_limit.rlim_cur = files_limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files_limit);
  ::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  pin(0, 0);
  const test::TemporaryDirectory files;
  const auto port = test::free_port();
  const Server server{port};
  auto proxies = start_all(files, port);
  std::map<std::string, Figures> figures;
  for (int round = 0; round < rounds; ++round)
    for (auto& proxy : proxies) {
      auto& out = figures[proxy.name];
      if (wants("throughput")) throughput(proxy.port, proxy.pid(), seconds, out);
      if (wants("trips")) round_trips(proxy.port, 10'000, out);
      if (wants("connects")) connects(proxy.port, proxy.pid(), seconds / 2, out);
    }
  if (rounds)
    std::printf("%-8s %14s %12s %12s %12s %14s %18s   medians of %d rounds, %d connections\n", "",
                "CPU s per GB", "GB/s", "RTT p50 us", "RTT p99 us", "connections/s", "CPU us of each", rounds,
                connections);
  for (auto& proxy : proxies) {
    if (!rounds) break;
    auto& one = figures[proxy.name];
    std::printf("%-8s %14.3f %12.2f %12.1f %12.1f %14.0f %18.1f\n", proxy.name.c_str(),
                at(one.cpu_per_gb, 0.5), at(one.gb_per_s, 0.5), at(one.rtt_p50, 0.5), at(one.rtt_p99, 0.5),
                at(one.per_s, 0.5), at(one.cpu_per_connection, 0.5));
  }
  // A proxied connection takes two descriptors, of which a process may have so many.
  const int most = std::min<int>(10'000, static_cast<int>((files_limit.rlim_max - 200) / 2));
  for (auto& proxy : proxies)
    if (proxy.pid() && wants("idle")) {
      const auto before = resident_mib(proxy.pid());
      std::printf("%-8s %d idle connections: %.1f MiB resident, %.1f before\n", proxy.name.c_str(), most,
                  idle(proxy.port, proxy.pid(), most), before);
    }
  for (auto& proxy : proxies) {
    if (proxy.name != "squall" || !wants("latency")) continue;
    auto base = paced(proxy.port, seconds * 2);
    const auto usual = at(base, 0.5);
    std::printf(
        "without a toxic, %d connections that ask 20 times a second: answers pass in %.0f us p50, %.0f us "
        "p99\n",
        connections, usual, at(base, 0.99));
    for (int ms : {1, 10, 40}) {
      api(proxy.control, "/proxies/bench/toxics",
          R"({"name":"late","type":"latency","attributes":{"latency":)" + std::to_string(ms) + "}}");
      // Whoever else is at work on this machine shows in the p99 of a stretch: the median of several is told,
      // of both.
      std::vector<double> p50, p99, bare_p50, bare_p99;
      for (int stretch = 0; stretch < stretches; ++stretch) {
        const int timer = time_bare(seconds);
        auto took = paced(proxy.port, seconds);
        for (auto& one : took)
          one -= ms * 1000.0 + usual;
        auto late = read_all(timer);
        p50.push_back(at(took, 0.5));
        p99.push_back(at(took, 0.99));
        bare_p50.push_back(at(late, 0.5));
        bare_p99.push_back(at(late, 0.99));
      }
      std::printf(
          "latency %3d ms: error %.0f us p50, %.0f us p99; a bare timer as often beside it: %.0f us p50, "
          "%.0f us p99 (medians of %d stretches of %.0f s)\n",
          ms, at(p50, 0.5), at(p99, 0.5), at(bare_p50, 0.5), at(bare_p99, 0.5), stretches, seconds);
      test::run({"curl", "-sf", "-X", "DELETE",
                 "http://127.0.0.1:" + std::to_string(proxy.control) + "/proxies/bench/toxics/late"});
    }
  }
  return 0;
}
