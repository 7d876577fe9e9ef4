#include "tests/crash/stage.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/faults/fault.hpp"
#include "injector/host/cgroups/value.hpp"
#include "injector/system/mounts.hpp"

namespace squall::crash {
namespace {

namespace json = boost::json;

// Its own: who listens is looked for in every network namespace, and beside a real Redis, or another stage,
// it would be unclear who is meant.
const auto port = static_cast<std::uint16_t>(20000 + ::getpid() % 10000);

json::value scalar(const std::string& text) {
  if (!text.empty() && text.size() < 10 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::stoi(text);
  return json::value(text);
}

std::pair<std::string, std::string> key_and_value(const std::string& word) {
  const auto at = word.find('=');
  if (at == std::string::npos) throw std::runtime_error(fmt::format("expected key=value, got \"{}\"", word));
  return {word.substr(0, at), word.substr(at + 1)};
}

constexpr std::string_view question = "GET / HTTP/1.1\r\nHost: it\r\n\r\n",
                           answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nit";

// Nobody waits for long, and nothing of a connection is left at its end.
void set_up(int socket) {
  const timeval patience{0, 300'000};
  const linger at_once{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

// In the thread's network namespace, with a file of the disk open, in its cgroups, until it is killed.
[[noreturn]] void be_the_process(const std::string& folder, const std::vector<std::string>& groups,
                                 int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (auto& group : groups) {
    const int procs = ::open((group + "/cgroup.procs").c_str(), O_WRONLY);
    if (procs < 0 || ::write(procs, "0", 1) != 1) ::_exit(11);
  }
  if (::open((folder + "/data").c_str(), O_RDWR | O_CREAT, 0644) < 0) ::_exit(12);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0), on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 8) != 0)
    ::_exit(13);
  if (::write(ready, "!", 1) != 1) ::_exit(14);
  for (;;) {
    const int visitor = ::accept(listener, nullptr, nullptr);
    if (visitor < 0) continue;
    set_up(visitor);
    char request[512];
    if (::recv(visitor, request, sizeof request, 0) > 0)
      ::send(visitor, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::recv(visitor, request, sizeof request, 0);
    ::close(visitor);
  }
}

// Whether somebody at the other end is served.
bool visit() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  set_up(socket);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, "10.99.0.1", &address.sin_addr);
  char got[512];
  const bool served = ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                      ::send(socket, question.data(), question.size(), MSG_NOSIGNAL) > 0 &&
                      ::recv(socket, got, sizeof got, 0) >= static_cast<ssize_t>(answer.size());
  ::close(socket);
  return served;
}

// The one who serves may wait for a while yet for somebody whose way was cut.
bool visit_in_time() {
  for (int attempt = 0; attempt < 10; ++attempt)
    if (visit()) return true;
  return false;
}

// What goes away with a device that is put down or carries too little, and has to come back: routes, one of
// them by a nexthop object, neighbours, and a device that stands on it, where this kernel has such.
void furnish_device() {
  testing::shell(
      "ip -6 route add fd98::/64 via fd99::2 && ip route add 10.98.0.0/24 via 10.99.0.2 && ip nexthop add id "
      "7 via fd99::2 dev sqa && "
      "ip -6 route add fd97::/64 nhid 7 && ip neigh add fd99::2 lladdr 02:00:00:00:00:02 nud permanent dev "
      "sqa && ip neigh add proxy fd99::9 dev sqa");
  testing::shell(
      "ip link add sqm link sqa type macvlan 2>/dev/null || exit 0; "
      "ip -6 addr add fd96::1/64 dev sqm nodad && ip link set sqm up && ip -6 route add fd95::/64 via "
      "fd96::2");
}

// Other tests, of another checkout, stop processes and limit cgroups of their own. A process of ours is in
// this network namespace.
bool of_another_test(const std::string& what) {
  if (what.starts_with("cgroup "))
    for (const char* tests : {"/squall-test-", "/sqtest-"})
      if (const auto at = what.find(tests); at != std::string::npos)
        return what.find(tests + std::to_string(::getpid()), at) != at;
  if (!what.starts_with("process ")) return false;
  struct stat here{}, there{};
  ::stat("/proc/thread-self/ns/net", &here);
  return ::stat(fmt::format("/proc/{}/ns/net", std::atoi(what.c_str() + what.rfind('[') + 1)).c_str(),
                &there) != 0 ||
         there.st_ino != here.st_ino;
}

}  // namespace

Stage::Stage(bool visited) : group_("crash"), visited_(visited) {
  furnish_device();
  // Few enough to be killed at each.
  testing::shell("echo 40000 40019 >/proc/sys/net/ipv4/ip_local_port_range");
  const auto mounts = read_mounts();
  if (std::any_of(mounts.begin(), mounts.end(), [](auto& mount) { return mount.type == "cgroup2"; }))
    sockets_.emplace();
  for (auto* controller : {"cpu", "memory"})
    if (const auto found = cgroup::hierarchy_with(controller);
        found && found->version == cgroup::Version::v1) {
      limited_.push_back(fmt::format("{}/squall-test-{}", found->point, ::getpid()));
      std::filesystem::create_directory(limited_.back());
    }
  start_process();
  if (!visited) return;
  visitor_ = ::fork();
  if (visitor_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  network_.go_to_the_other_end();
  ::close_range(3, ~0U, 0);  // it is no user of the disk
  for (;; ::usleep(10'000))
    visit();
}

Stage::~Stage() {
  if (visitor_ > 0) {
    ::kill(visitor_, SIGKILL);
    ::waitpid(visitor_, nullptr, 0);
  }
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  for (auto& folder : limited_)
    ::rmdir(folder.c_str());
}

void Stage::start_process() {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  auto groups = limited_;
  if (sockets_) groups.push_back(sockets_->folder);
  groups.push_back(group_.group().folder);  // last: there may be one hierarchy for both
  process_ = ::fork();
  if (process_ == 0) be_the_process(disk_.folder(), groups, ready[1]);
  ::close(ready[1]);
  char byte = 0;
  const bool there = ::read(ready[0], &byte, 1) == 1;
  ::close(ready[0]);
  if (!there) throw std::runtime_error("the stage's process does not start");
}

HostState Stage::look() {
  int status = 0;
  // The tracer may have reaped it.
  if (::waitpid(process_, &status, WNOHANG) != 0) start_process();
  auto out = snapshot_host();
  std::erase_if(out, [](auto& one) { return of_another_test(one.first); });
  // Not part of a snapshot.
  if (visited_) network_.at_the_other_end([&] { out["visit"] = visit_in_time() ? "served" : "not served"; });
  out["permanent neighbours"] = testing::shell("ip neigh show nud permanent");
  return out;
}

std::vector<Trial> Stage::trials() const {
  std::vector<Trial> out;
  for (auto* fault : fault_catalogue())
    for (auto& example : fault->examples) {
      Trial trial{std::string(fault->name), example, {}, {}};
      std::istringstream words{example};
      for (std::string word; words >> word;) {
        if (word == "--for") {
          words >> word;
        } else if (word == "--on") {
          words >> word;
          auto [key, value] = key_and_value(word);
          if (key == "path") {
            trial.on["path"] = disk_.folder();
          } else if (key == "interface") {
            trial.on["interface"] = value == "lo" || value == "any" ? value : "sqa";
          } else if (key == "listens_on") {
            trial.on["listens_on"] = port;
          } else if (key == "unit" || key == "exe" || key == "command" || key == "pidfile" || key == "user" ||
                     key == "cgroup" || key == "container") {
            trial.on["pid"] = process_;
          } else {
            throw std::runtime_error(
                fmt::format("{} {}: the stage has no {} to aim at", fault->name, example, key));
          }
        } else {
          auto [key, value] = key_and_value(word);
          // A file of samples is read by the controller.
          trial.with[key] =
              key == "samples" ? json::value(json::array{"5ms", "10ms", "40ms"}) : scalar(value);
        }
      }
      out.push_back(trial);
      // Each mechanism is gone through, not only the one this host prefers.
      const auto fields = fault->parameters->fields();
      if (std::none_of(fields.begin(), fields.end(), [](auto& field) { return field.name == "mechanism"; }))
        continue;
      const auto options = fault->doctor();
      if (std::count_if(options.begin(), options.end(), [](auto& one) { return one.possible; }) < 2) continue;
      trial.with["mechanism"] = "kernel";
      trial.example += " mechanism=kernel";
      out.push_back(std::move(trial));
    }
  return out;
}

}  // namespace squall::crash
