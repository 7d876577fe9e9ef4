// The injector by its protocol, in a network of the test's own: leases, lost links, hangs, and two callers of
// one host.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <gtest/gtest.h>

#include "injector/undo/journal.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_names.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

class Injector : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    network.emplace();
    watcher.emplace(state());
    watcher->must({{"do", "hello"}, {"version", 1}});
    watcher->must({{"do", "snapshot"}});
  }

  std::string state() const { return (folder.path() / "state").string(); }
  static json::object hello(const std::string& run, std::int64_t lease_ns = 10'000'000'000) {
    return {{"do", "hello"}, {"version", 1}, {"run", run}, {"lease_ns", lease_ns}};
  }
  static json::object slow(const std::string& step, const std::string& interface, int seconds = 60) {
    return {{"do", "apply"},
            {"step", step},
            {"fault", "network.delay"},
            {"on", json::object{{"interface", interface}}},
            {"with", json::object{{"delay", "50ms"}}},
            {"for_ns", seconds * 1'000'000'000LL},
            {"seed", 1}};
  }
  std::string changed() const { return json::serialize(watcher->must({{"do", "diff"}}).at("differences")); }
  // The guardian needs a moment when the injector is not there to do it.
  ::testing::AssertionResult as_found_within(std::chrono::milliseconds patience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (changed() != "[]" || !read_journals(state()).empty())
      if (std::chrono::steady_clock::now() > until)
        return ::testing::AssertionFailure()
               << changed() << ", " << read_journals(state()).size() << " journals";
    return ::testing::AssertionSuccess();
  }

  TemporaryDirectory folder;
  std::optional<squall::testing::OwnNetwork> network;
  mutable std::optional<InjectorProcess> watcher;
};

TEST_F(Injector, undoes_when_its_lease_runs_out) {
  InjectorProcess injector{state()};
  injector.must(hello("forgetful", 700'000'000));
  const auto start = std::chrono::steady_clock::now();
  injector.must(slow("slow", "sqa"));
  EXPECT_NE(changed(), "[]");
  const auto undone = injector.wait_for_event("undone");
  EXPECT_GE(std::chrono::steady_clock::now() - start, 700ms);
  EXPECT_EQ(undone.at("why"), "the lease ran out");
  EXPECT_TRUE(undone.at("clean").as_bool());
  EXPECT_EQ(changed(), "[]");
}

// Its proxy's last words are translated before the rules go.
TEST_F(Injector, killed_lets_clients_of_its_proxy_know) {
  const squall::testing::ServerProcess server{squall::testing::echo_at(7031)};
  InjectorProcess injector{state()};
  injector.must(hello("killed"));
  injector.must({{"do", "apply"},
                 {"step", "slow"},
                 {"fault", "tcp.latency"},
                 {"on", json::object{{"listens_on", 7031}}},
                 {"with", json::object{{"latency", "20ms"}}},
                 {"for_ns", 60'000'000'000LL},
                 {"seed", 1}});
  squall::testing::Client near{"127.0.0.1", 7031};
  std::unique_ptr<squall::testing::Client> far;
  network->at_the_other_end([&] { far = std::make_unique<squall::testing::Client>("10.99.0.1", 7031); });
  EXPECT_GE(near.round_trip_ms(), 19);
  EXPECT_GE(far->round_trip_ms(), 19);
  ::kill(injector.pid(), SIGKILL);
  for (auto* client : {&near, far.get()}) {
    EXPECT_EQ(client->receive(1), "");
    EXPECT_NE(client->error, EAGAIN) << (client == &near ? "near" : "far") << ": it was told nothing for 5 s";
  }
  EXPECT_TRUE(as_found_within(5s));
  EXPECT_GE(squall::testing::Client("127.0.0.1", 7031).round_trip_ms(), 0);
}

TEST_F(Injector, keeps_a_fault_while_its_lease_is_renewed) {
  InjectorProcess injector{state()};
  injector.must(hello("patient", 1'500'000'000));
  injector.must(slow("slow", "sqa"));
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(250ms);
    injector.must({{"do", "renew"}});
  }
  EXPECT_TRUE(injector.must({{"do", "undo"}, {"step", "slow"}}).at("clean").as_bool());
  EXPECT_EQ(changed(), "[]");
}

TEST_F(Injector, undoes_at_once_when_its_link_ends) {
  InjectorProcess injector{state()};
  injector.must(hello("cut off"));
  injector.must(slow("slow", "sqa"));
  injector.must(slow("slower", "lo"));
  injector.hang_up();
  EXPECT_EQ(injector.end(), 0);
  EXPECT_EQ(changed(), "[]");
  EXPECT_TRUE(read_journals(state()).empty());
}

TEST_F(Injector, that_hangs_is_ended_by_its_guardian) {
  InjectorProcess injector{state()};
  injector.must(hello("hung"));
  injector.must(slow("slow", "sqa"));
  ::kill(injector.pid(), SIGSTOP);
  const int status = injector.end();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_TRUE(as_found_within(5s));
}

// The soft and the hard one (proc(5), /proc/pid/limits).
std::pair<rlim_t, rlim_t> descriptor_limit(pid_t pid) {
  rlimit out{};
  ::prlimit(pid, RLIMIT_NOFILE, nullptr, &out);
  return {out.rlim_cur, out.rlim_max};
}

TEST_F(Injector, may_have_all_descriptors_and_its_guardian_as_many_as_before) {
  rlimit own{};
  ::getrlimit(RLIMIT_NOFILE, &own);
  const rlimit low{512, own.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &low);
  InjectorProcess injector{state()};
  ::setrlimit(RLIMIT_NOFILE, &own);
  injector.must(hello("many connections"));
  injector.must(slow("slow", "sqa"));
  EXPECT_EQ(descriptor_limit(injector.pid()), std::pair(own.rlim_max, own.rlim_max));
  pid_t guardian = 0;
  std::ifstream{fmt::format("/proc/{0}/task/{0}/children", injector.pid())} >> guardian;
  ASSERT_GT(guardian, 0);
  EXPECT_EQ(descriptor_limit(guardian), std::pair(rlim_t{512}, own.rlim_max));
}

// A debugger's hold on that one thread, as it enters one of these system calls: the rest of the process goes
// on.
class Hold {
 public:
  Hold(pid_t process, const std::string& name, const std::set<std::uint64_t>& calls) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    // A thread gives itself its name, when it has a turn.
    while (thread_ < 0 && std::chrono::steady_clock::now() < until)
      for (auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
        std::string comm;
        std::getline(std::ifstream{task.path() / "comm"}, comm);
        if (comm == name) thread_ = std::stoi(task.path().filename());
      }
    if (thread_ < 0 || ::ptrace(PTRACE_SEIZE, thread_, 0, PTRACE_O_TRACESYSGOOD) != 0)
      throw std::runtime_error("no hold on " + name);
    ::ptrace(PTRACE_INTERRUPT, thread_, 0, 0);
    while (wait() && !(there_ = enters(calls)) && std::chrono::steady_clock::now() < until)
      ::ptrace(PTRACE_SYSCALL, thread_, 0, 0);
  }
  bool there() const { return there_; }
  // Whether it died.
  bool dies_within(std::chrono::seconds patience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (int status = 0; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(10ms))
      if (::waitpid(thread_, &status, __WALL | WNOHANG) == thread_ &&
          (WIFEXITED(status) || WIFSIGNALED(status)))
        return true;
    return false;
  }

 private:
  bool wait() const {
    int status = 0;
    return ::waitpid(thread_, &status, __WALL) == thread_ && WIFSTOPPED(status);
  }
  bool enters(const std::set<std::uint64_t>& calls) const {
    __ptrace_syscall_info info{};
    return ::ptrace(PTRACE_GET_SYSCALL_INFO, thread_, sizeof info, &info) > 0 &&
           info.op == PTRACE_SYSCALL_INFO_ENTRY && calls.contains(info.entry.nr);
  }
  pid_t thread_ = -1;
  bool there_ = false;
};

class HungEngine : public Injector {
 protected:
  // How the injector ended: as wait(2) tells it.
  int status_when_held_in(const std::set<std::uint64_t>& calls) const {
    InjectorProcess injector{state()};
    injector.must(hello("hung engine"));
    auto request = slow("slow", "sqa");
    request["with"] = json::object{{"delay", "50ms"}, {"mechanism", "userland"}};
    injector.must(request);
    std::jthread traffic{[](std::stop_token enough) {
      while (!enough.stop_requested())
        squall::testing::ping("10.99.0.2", 9, 1, 10'000, 0);
    }};
    const Hold hold{injector.pid(), "squall-packets", calls};
    traffic.request_stop();
    traffic.join();
    EXPECT_TRUE(hold.there()) << "nothing is tested";
    if (!hold.dies_within(15s)) {
      ADD_FAILURE() << "it holds its packets for ever";
      ::kill(injector.pid(), SIGKILL);
      hold.dies_within(5s);
    }
    return injector.end();
  }
};

TEST_F(HungEngine, ends_its_injector_so_that_packets_flow_again) {
  const int status = status_when_held_in({SYS_epoll_pwait,
#ifdef SYS_epoll_wait
                                          SYS_epoll_wait
#endif
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 70) << status;
  EXPECT_TRUE(as_found_within(5s));
}

// There it has the lock of what it measures, for which the injector waits when it tells the dose: both hang.
TEST_F(HungEngine, that_hangs_while_it_sends_is_ended_with_its_injector_by_the_guardian) {
  const int status = status_when_held_in({SYS_sendto, SYS_sendmmsg});
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_TRUE(as_found_within(5s));
}

// "no packet was through its delay yet; 30 wait", and what the kernel itself sends now and then.
int waiting(InjectorProcess& injector, int expected) {
  int out = 0;
  for (int i = 0; i < 500 && out < expected; ++i, std::this_thread::sleep_for(10ms)) {
    const std::string reason{
        injector.must({{"do", "dose"}, {"step", "slow"}}).at("dose").at("reason").as_string()};
    const auto at = reason.find("; ");
    out = at == reason.npos ? 0 : std::stoi(reason.substr(at + 2));
  }
  return out;
}

TEST_F(Injector, loses_no_packet_that_it_holds_when_another_fault_ends) {
  for (const json::object& end :
       {json::object{{"do", "undo"}, {"step", "other"}}, json::object{{"do", "undo_all"}}}) {
    InjectorProcess injector{state()};
    injector.must(hello("several"));
    auto request = slow("slow", "sqa");
    request["with"] = json::object{{"delay", "60s"}, {"direction", "in"}, {"mechanism", "userland"}};
    injector.must(request);
    injector.must({{"do", "apply"},
                   {"step", "other"},
                   {"fault", "network.partition"},
                   {"on", json::object{{"interface", "sqa"}}},
                   {"with", json::object{{"port", 7031}}},
                   {"for_ns", 60'000'000'000LL},
                   {"seed", 1}});
    std::string pinged;
    std::thread ping{[&] {
      pinged = squall::testing::shell("ping -U -n -q -c 40 -i 0.02 -W 20 10.99.0.2 || true");
    }};  // -U: it waits as long as answers take
    EXPECT_GE(waiting(injector, 40), 40) << "nothing is tested";
    std::this_thread::sleep_for(300ms);  // and the last of them too, where the kernel's own were among those
    injector.must(end);
    ping.join();
    EXPECT_NE(pinged.find("40 packets transmitted, 40 received"), std::string::npos) << end << pinged;
    if (end.contains("step"))
      EXPECT_TRUE(injector.must({{"do", "undo"}, {"step", "slow"}}).at("clean").as_bool());
  }
}

TEST_F(Injector, that_is_killed_leaves_word_of_the_packets_that_it_held) {
  InjectorProcess injector{state()};
  injector.must(hello("costly"));
  auto request = slow("slow", "sqa");
  request["with"] = json::object{{"delay", "60s"}, {"direction", "out"}, {"mechanism", "userland"}};
  injector.must(request);
  squall::testing::shell("ping -n -q -c 30 -i 0.01 -W 0.1 10.99.0.2 > /dev/null || true");
  const auto held = waiting(injector, 30);
  ASSERT_GE(held, 30);
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  ASSERT_TRUE(as_found_within(5s));
  const std::vector<std::string> recover{
      bin_dir() + "/squall-injector", "recover", "--state", state(), "--output", "json"};
  const auto costs = json::parse(run_to_end(recover).out).at("costs").as_array();
  ASSERT_EQ(costs.size(), 1U);
  EXPECT_EQ(costs[0].at("step"), "slow");
  int told = 0;
  EXPECT_EQ(std::sscanf(costs[0].at("text").as_string().c_str(), "at least %d packets that it held are lost",
                        &told),
            1)
      << costs;
  EXPECT_GE(told, held);
  EXPECT_LE(told, held + 30);
  // It is told once.
  EXPECT_TRUE(json::parse(run_to_end(recover).out).at("costs").as_array().empty());
}

TEST_F(Injector, that_is_killed_with_many_faults_in_force_leaves_none) {
  // Fifty devices of a network of the test's own; a fault on each.
  constexpr int faults = 50;
  for (int i = 0; i < faults / 2; ++i)
    squall::testing::shell(fmt::format(
        "ip link add sqm{0} type veth peer name sqn{0} && ip link set sqm{0} up && ip link set sqn{0} up",
        i));
  std::this_thread::sleep_for(200ms);  // addresses settle
  watcher->must({{"do", "snapshot"}});
  InjectorProcess injector{state()};
  injector.must(hello("many"));
  for (int i = 0; i < faults; ++i)
    injector.must(slow(fmt::format("step {}", i), fmt::format("sq{}{}", i % 2 ? "n" : "m", i / 2)));
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(as_found_within(20s));
  RecordProperty("ms_to_as_found", static_cast<int>((std::chrono::steady_clock::now() - start) / 1ms));
}

TEST_F(Injector, that_is_killed_takes_the_addresses_with_it_that_it_added) {
  squall::testing::OwnNames names{"10.99.0.2 peer.test\n"};
  InjectorProcess injector{state()};
  injector.must(hello("names"));
  injector.must({{"do", "apply"},
                 {"step", "parted"},
                 {"fault", "network.partition"},
                 {"on", json::object{{"interface", "sqa"}}},
                 {"with", json::object{{"to", json::array{"peer.test"}}}},
                 {"for_ns", 120'000'000'000LL},
                 {"seed", 1}});
  names.become("10.99.0.2 peer.test\nfd99::2 peer.test\n");
  const auto added = injector.wait_for([](const json::object& said) {
    return said.contains("what") && said.at("what").as_string() == "partition.addresses";
  });
  EXPECT_EQ(added.at("added"), (json::array{"fd99::2"})) << json::serialize(added);
  EXPECT_EQ(added.at("name").as_string(), "peer.test");
  std::optional<squall::testing::UdpEcho> far;
  network->at_the_other_end([&] { far.emplace(std::uint16_t{7007}); });
  const auto lost = [](const char* address) {
    return squall::testing::ping(address, 7007, 20, 500, 500).lost();
  };
  for (auto* address : {"10.99.0.2", "fd99::2"})
    EXPECT_EQ(lost(address), 20U) << address;
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  EXPECT_TRUE(as_found_within(20s));
  for (auto* address : {"10.99.0.2", "fd99::2"})
    EXPECT_EQ(lost(address), 0U) << address;
}

TEST_F(Injector, tells_a_second_caller_who_holds_what_until_when) {
  InjectorProcess first{state()}, second{state()};
  first.must(hello("evening peak"));
  first.must(slow("slow", "sqa"));
  second.must(hello("another drill"));
  const auto refused = second.ask(slow("mine", "sqa"));
  ASSERT_FALSE(refused.at("ok").as_bool());
  EXPECT_EQ(refused.at("kind"), "conflict");
  const std::string text{refused.at("error").as_string()};
  for (auto* part : {"\"mine\"", "\"slow\"", "\"evening peak\"", "network.delay", "until ", "UTC"})
    EXPECT_NE(text.find(part), text.npos) << text;
  // What does not collide may share the host.
  EXPECT_TRUE(second.ask(slow("elsewhere", "lo")).at("ok").as_bool());
  first.must({{"do", "bye"}});
  EXPECT_TRUE(second.ask(slow("mine", "sqa")).at("ok").as_bool());
  second.must({{"do", "bye"}});
  EXPECT_EQ(changed(), "[]");
}

TEST_F(Injector, lets_two_callers_take_the_same_port_from_different_peers) {
  const auto refuse = [](const char* step, json::array to) {
    json::object out{{"do", "apply"},
                     {"step", step},
                     {"fault", "network.refuse"},
                     {"on", json::object{}},
                     {"with", json::object{{"port", 7007}}},
                     {"for_ns", 60'000'000'000LL},
                     {"seed", 1}};
    if (!to.empty()) out["with"].as_object()["to"] = std::move(to);
    return out;
  };
  InjectorProcess first{state()}, second{state()};
  first.must(hello("first"));
  second.must(hello("second"));
  first.must(refuse("ours", {"192.0.2.0/25"}));
  second.must(refuse("theirs", {"192.0.2.128/25", "fd99::7"}));
  for (auto& asked : {refuse("some of them", {"192.0.2.200"}), refuse("all", {})}) {
    const auto refused = first.ask(asked);
    ASSERT_FALSE(refused.at("ok").as_bool());
    EXPECT_EQ(refused.at("kind"), "conflict");
  }
  first.must({{"do", "bye"}});
  second.must({{"do", "bye"}});
  EXPECT_EQ(changed(), "[]");
}

// Neither answers for the rules and devices that come and go with the other, of whom it says what else may be
// its doing.
TEST_F(Injector, answers_for_its_own_changes_alone) {
  InjectorProcess first{state()}, second{state()};
  first.must(hello("first"));
  first.must({{"do", "snapshot"}});
  first.must(slow("slow", "sqa"));
  second.must(hello("second"));
  second.must({{"do", "snapshot"}});
  second.must(slow("elsewhere", "lo"));
  const auto bye = first.must({{"do", "bye"}});
  EXPECT_TRUE(bye.at("clean").as_bool()) << json::serialize(bye);
  squall::testing::shell("ip link set sqa mtu 1400 && ip link set lo mtu 60000");
  const auto changed = second.must({{"do", "bye"}});
  EXPECT_FALSE(changed.at("clean").as_bool());
  const auto text = json::serialize(changed.at("differences"));
  EXPECT_NE(text.find("link lo: was"), text.npos) << text;
  EXPECT_EQ(text.find("link sqa: was"), text.npos) << "it had nothing to do with that: " << text;
  EXPECT_NE(json::serialize(changed.at("meanwhile")).find("link sqa: was"), std::string::npos);
  EXPECT_NE(text.find(R"(meanwhile \"slow\" (network.delay) of the run \"first\" was in force here)"),
            text.npos)
      << text;
  EXPECT_EQ(text.find("is gone"), text.npos) << text;
}

TEST_F(Injector, that_is_idle_does_not_wake_up) {
  InjectorProcess injector{state()};
  injector.must(hello("idle"));
  injector.must(slow("slow", "sqa"));
  injector.must({{"do", "undo"}, {"step", "slow"}});
  std::this_thread::sleep_for(1s);  // what still had to be tidied up
  auto woken = [&] {
    std::int64_t sum = 0;
    for (auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", injector.pid()))) {
      std::ifstream status{task.path() / "status"};
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoll(line.substr(24));
    }
    return sum;
  };
  const auto before = woken();
  std::this_thread::sleep_for(2s);
  EXPECT_EQ(woken(), before);
}

}  // namespace
}  // namespace squall::test
