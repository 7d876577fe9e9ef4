// What our own packet queue costs and carries: processor time a packet, packets a second, TCP through a fault
// of no delay, how late packets are, how long traffic stops when the engine is killed; and a hundred
// partition rules beside nft. Root; network namespaces of its own.
//
//   packet_bench [SECONDS [packets|leaving|tcp|kill|partition]]
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/host/packets/hold_times.hpp"
#include "injector/system/process.hpp"
#include "tests/support/ipv4_address.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using testing::ipv4_address;
using testing::OwnNetwork;
using testing::RunFault;

constexpr std::uint16_t port = 7777;

// Processor time of the thread that holds packets.
double engine_seconds() {
  double out = 0;
  for (auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream name{task.path() / "comm"}, file{task.path() / "schedstat"};
    std::string text;
    double ns = 0;
    if (name >> text && text == "squall-packets" && file >> ns) out += ns / 1e9;
  }
  return out;
}

// Of all threads: who sends and who receives too, and what the kernel does for them.
double all_seconds() {
  timespec out{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &out);
  return static_cast<double>(out.tv_sec) + static_cast<double>(out.tv_nsec) / 1e9;
}

// Takes datagrams in the namespace it is made in.
class Receiver {
 public:
  Receiver() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const auto at = ipv4_address("0.0.0.0", port);
    const int size = 64 << 20;
    const timeval patience{0, 100'000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::bind(socket_, reinterpret_cast<const sockaddr*>(&at), sizeof at);
    thread_ = std::thread{[this] {
      std::vector<char> bytes(64 * 64);
      mmsghdr messages[64]{};
      iovec parts[64];
      for (std::size_t i = 0; i < 64; ++i) {
        parts[i] = {&bytes[i * 64], 64};
        messages[i].msg_hdr = {.msg_name = nullptr,
                               .msg_namelen = 0,
                               .msg_iov = &parts[i],
                               .msg_iovlen = 1,
                               .msg_control = nullptr,
                               .msg_controllen = 0,
                               .msg_flags = 0};
      }
      while (!stop_)
        if (const int got = ::recvmmsg(socket_, messages, 64, MSG_WAITFORONE, nullptr); got > 0) {
          const auto now = monotonic_ns();
          for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
            std::int64_t sent = 0;
            std::memcpy(&sent, parts[i].iov_base, sizeof sent);
            under_way_.add(now - sent);
          }
          count_ += static_cast<std::uint64_t>(got);
        }
    }};
  }
  ~Receiver() {
    stop_ = true;
    thread_.join();
    ::close(socket_);
  }
  std::uint64_t count() const { return count_; }
  // From send to receive, once nothing comes any more.
  double quantile_ms(double share) const { return under_way_.quantile_ms(share); }

 private:
  int socket_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> count_ = 0;
  HoldTimes under_way_;
  std::thread thread_;
};

// 64 bytes each, at that rate, so many in a row, with the time at which they are sent; how many were sent.
std::uint64_t send_to(const char* receiver, double rate, double seconds, unsigned in_a_row) {
  std::uint64_t sent = 0;
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto to = ipv4_address(receiver, port);
  ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  char bytes[64] = {};
  iovec part{bytes, sizeof bytes};
  std::vector<mmsghdr> messages(in_a_row);
  for (auto& message : messages)
    message.msg_hdr.msg_iov = &part, message.msg_hdr.msg_iovlen = 1;
  const auto begin = monotonic_ns();
  for (std::int64_t now; (now = monotonic_ns()) - begin < static_cast<std::int64_t>(seconds * 1e9);) {
    if (static_cast<double>(sent) > rate * static_cast<double>(now - begin) / 1e9) {
      ::usleep(50);
      continue;
    }
    std::memcpy(bytes, &now, sizeof now);
    if (const int done = ::sendmmsg(socket, messages.data(), in_a_row, 0); done > 0)
      sent += static_cast<std::uint64_t>(done);
  }
  ::close(socket);
  return sent;
}

void packets(const OwnNetwork& network, double rate, double seconds, const std::string& direction) {
  const bool in = direction != "out";
  std::unique_ptr<Receiver> receiver;
  auto listen = [&] { receiver = std::make_unique<Receiver>(); };
  in ? listen() : network.at_the_other_end(listen);
  std::unique_ptr<RunFault> fault;
  if (!direction.empty()) {
    fault = std::make_unique<RunFault>(
        "network.delay",
        boost::json::object{{"delay", "1ms"}, {"direction", direction}, {"mechanism", "userland"}},
        boost::json::object{{"interface", "sqa"}});
    fault->apply();
  }
  const auto cpu = engine_seconds(), all_before = all_seconds();
  std::uint64_t sent = 0;
  auto send = [&] { sent = send_to(in ? "10.99.0.1" : "10.99.0.2", rate, seconds, 32); };
  in ? network.at_the_other_end(send) : send();
  ::usleep(300'000);
  const auto got = receiver->count();
  const auto used = engine_seconds() - cpu, all_used = all_seconds() - all_before;
  std::printf("%-22s %8.0f packets/s sent, %llu of %llu arrived",
              fault ? ("userland, 1 ms, " + direction).c_str() : "no fault",
              static_cast<double>(sent) / seconds, static_cast<unsigned long long>(got),
              static_cast<unsigned long long>(sent));
  if (fault) {
    const auto dose = (*fault)->measure();
    std::printf(
        ", %.2f us of processor time each; delay %.3f ms median, %.3f ms p99",
        used * 1e6 / static_cast<double>(got), dose.measured.at("delay_ms").to_number<double>(),
        dose.measured.contains("delay_p99_ms") ? dose.measured.at("delay_p99_ms").to_number<double>() : 0.0);
    if (dose.measured.contains("undelayed_packets"))
      std::printf("; %s were not delayed",
                  boost::json::serialize(dose.measured.at("undelayed_packets")).c_str());
  }
  std::printf("; %.2f us each with sender and receiver", all_used * 1e6 / static_cast<double>(got));
  std::printf("; received after %.3f ms median, %.3f ms p99\n", receiver->quantile_ms(0.5),
              receiver->quantile_ms(0.99));
}

// From here to a sink at the other end.
double tcp_gbit(const OwnNetwork& network, double seconds) {
  std::atomic<int> listener = -1;
  std::atomic<double> bytes = 0;
  std::thread sink{[&] {
    network.at_the_other_end([&] {
      const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      const auto at = ipv4_address("0.0.0.0", port);
      ::bind(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at);
      ::listen(socket, 1);
      listener = socket;
      const int client = ::accept(socket, nullptr, nullptr);
      std::vector<char> buffer(1 << 20);
      double all = 0;
      for (ssize_t got; (got = ::recv(client, buffer.data(), buffer.size(), MSG_TRUNC)) > 0;)
        all += static_cast<double>(got);
      bytes = all;
      ::close(client);
      ::close(socket);
    });
  }};
  while (listener < 0)
    ::usleep(1000);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto to = ipv4_address("10.99.0.2", port);
  ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  const std::vector<char> data(1 << 20);
  const auto begin = monotonic_ns();
  while (monotonic_ns() - begin < static_cast<std::int64_t>(seconds * 1e9))
    ::send(socket, data.data(), data.size(), MSG_NOSIGNAL);
  ::close(socket);
  sink.join();
  return bytes * 8 / static_cast<double>(monotonic_ns() - begin);
}

// The fault in the namespace that it is started in, until it is killed.
[[noreturn]] void hold() {
  RunFault fault{"network.delay",
                 {{"delay", "5ms"}, {"direction", "both"}, {"mechanism", "userland"}},
                 {{"interface", "sqa"}}};
  fault.apply();
  if (::write(STDOUT_FILENO, "!", 1) != 1) std::exit(1);
  for (;;)
    ::pause();
}

// It is not the processors' other work that is measured.
void before_others() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -20);
}

// A process with the fault is killed under a datagram every 200 us: how long, in milliseconds, until one
// comes that was sent after that.
double silence_after_kill(const OwnNetwork& network) {
  int ready[2];
  if (::pipe(ready) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(ready[1], STDOUT_FILENO);
    // Afresh: sockets that this process has got ready would keep the tables alive.
    ::execl("/proc/self/exe", "packet_bench", "hold", nullptr);
    ::_exit(1);
  }
  ::close(ready[1]);
  char byte = 0;
  if (::read(ready[0], &byte, 1) != 1) return -1;
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto at = ipv4_address("0.0.0.0", port);
  const timeval patience{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::bind(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at);
  std::thread sender{[&] {
    before_others();
    network.at_the_other_end([] { send_to("10.99.0.1", 5000, 0.7, 1); });
  }};
  double silence = -1;
  std::thread receiver{[&] {
    before_others();
    ::usleep(400'000);
    const auto killed = monotonic_ns();
    ::kill(child, SIGKILL);
    char bytes[64];
    for (std::int64_t sent = 0; sent <= killed && ::recv(socket, bytes, sizeof bytes, 0) > 0;) {
      std::memcpy(&sent, bytes, sizeof sent);
      if (sent > killed) silence = static_cast<double>(monotonic_ns() - killed) / 1e6;
    }
  }};
  receiver.join();
  sender.join();
  ::waitpid(child, nullptr, 0);
  ::close(socket);
  ::close(ready[0]);
  return silence;
}

void partition_rules() {
  boost::json::array to;
  std::string script = "table inet bench {\nchain in {\ntype filter hook input priority 0;\n";
  for (int i = 0; i < 100; ++i) {
    to.emplace_back(fmt::format("10.200.{}.0/24", i));
    script += fmt::format("ip saddr 10.200.{}.0/24 counter drop\n", i);
  }
  script += "}\nchain out {\ntype filter hook output priority 0;\n";
  for (int i = 0; i < 100; ++i)
    script += fmt::format("ip daddr 10.200.{}.0/24 counter drop\n", i);
  script += "}\n}\n";
  const test::TemporaryDirectory files;
  const auto path = files.write("rules", script);
  std::vector<double> ours, undo, nft, nft_undo;
  auto time = [](std::vector<double>& out, auto act) {
    const auto begin = monotonic_ns();
    act();
    out.push_back(static_cast<double>(monotonic_ns() - begin) / 1e6);
  };
  for (int i = 0; i < 15; ++i) {
    RunFault fault{"network.partition", {{"to", to}}, {{"interface", "sqa"}}};
    time(ours, [&] { fault.apply(); });
    time(undo, [&] { fault.undo(); });
    time(nft, [&] { test::run({"nft", "-f", path}); });
    time(nft_undo, [&] { test::run({"nft", "delete", "table", "inet", "bench"}); });
    ::usleep(50'000);
  }
  auto median = [](std::vector<double>& all) {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  };
  std::printf(
      "a partition from 100 networks, both ways: %.2f ms, undone in %.2f ms; nft with as many rules: %.2f "
      "ms, deleted in %.2f ms\n",
      median(ours), median(undo), median(nft), median(nft_undo));
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  using namespace squall;
  if (argc > 1 && std::string_view(argv[1]) == "hold") hold();
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string_view only = argc > 2 ? argv[2] : "";
  auto wanted = [&](std::string_view part) { return only.empty() || only == part; };
  const testing::OwnNetwork network;
  if (wanted("packets"))
    for (double rate : {50e3, 100e3, 150e3}) {
      packets(network, rate, seconds, "");
      packets(network, rate, seconds, "in");
    }
  if (wanted("leaving"))
    for (double rate : {50e3, 100e3}) {
      packets(network, rate, seconds, "");
      packets(network, rate, seconds, "out");
    }
  if (wanted("tcp")) {
    std::printf("TCP without a fault: %.1f Gbit/s\n", tcp_gbit(network, seconds));
    for (const char* direction : {"out", "both"}) {
      RunFault fault{"network.delay",
                     {{"delay", "0ms"}, {"direction", direction}, {"mechanism", "userland"}},
                     {{"interface", "sqa"}}};
      fault.apply();
      std::printf("TCP through a fault of no delay, %s: %.1f Gbit/s\n", direction,
                  tcp_gbit(network, seconds));
    }
  }
  if (wanted("kill")) {
    std::vector<double> silences;
    for (int i = 0; i < 25; ++i)
      silences.push_back(silence_after_kill(network));
    std::sort(silences.begin(), silences.end());
    std::printf("packets flow again after the engine was killed:");
    for (const double one : silences)
      std::printf(" %.2f", one);
    std::printf(" ms\n");
  }
  if (wanted("partition")) partition_rules();
  return 0;
}
