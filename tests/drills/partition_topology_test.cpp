// Partitions over several hosts: each is a network namespace of the test's own with an injector of its own,
// reached by what stands for ssh. Exactly those that the plan names cannot hear each other.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/system/process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;
using ::squall::testing::shell;

constexpr std::uint16_t port = 7007;

// A host: a network namespace on a bridge, with a socket in it that hears the others.
class PartedHost {
 public:
  PartedHost(std::string called, int number)
      : name(std::move(called)), address(fmt::format("10.98.0.{}", number)) {
    std::thread{[this] {
      if (::unshare(CLONE_NEWNET) != 0) return;
      space_ = Fd{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
      socket_ = Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    }}.join();
    if (socket_.get() < 0) throw std::runtime_error("no network namespace");
    const auto any = at("0.0.0.0");
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
      throw std::runtime_error("bind");
    shell(fmt::format(
        "ip link add sqh{0} type veth peer name eth0 netns {1} && ip link set sqh{0} master sqbr up", number,
        path()));
    shell(fmt::format(
        "nsenter --net={} sh -c 'ip link set lo up; ip addr add {}/24 dev eth0 && ip link set eth0 up'",
        path(), address));
  }

  // Where others of this machine find the namespace, as long as this process lives.
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), space_.get()); }

  void tell(const PartedHost& other, const std::string& what) const {
    const auto to = at(other.address.c_str());
    ::sendto(socket_.get(), what.data(), what.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
  std::string hear() const {
    char data[256];
    const auto size = ::recv(socket_.get(), data, sizeof data, MSG_DONTWAIT);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : "";
  }

  std::string name, address;

 private:
  static sockaddr_in at(const char* address) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &out.sin_addr);
    return out;
  }

  Fd space_, socket_;
};

using Pairs = std::set<std::pair<std::string, std::string>>;  // who hears whom

class PartitionTopology : public ::testing::TestWithParam<const char*> {
 protected:
  ::squall::testing::OwnNetwork network;
  std::vector<std::unique_ptr<PartedHost>> hosts;
  std::string path_before = std::getenv("PATH");
  Squall tool;
  int rounds = 0;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    shell("ip link add sqbr type bridge && ip link set sqbr up");
    std::string cases, landscape = "hosts:\n";
    for (auto* name : {"a", "b", "c", "d", "e"}) {
      const auto& host =
          hosts.emplace_back(std::make_unique<PartedHost>(name, static_cast<int>(hosts.size()) + 1));
      landscape += fmt::format("  {}: {{link: ssh, address: root@{}}}\n", name, host->address);
      cases += fmt::format("  root@{}) space={}; name={} ;;\n", host->address, host->path(), name);
    }
    tool.folder.write("landscape.yaml", landscape);
    fs::create_directory(tool.folder.path() / "bin");
    // ssh … -- HOST squall-injector VERB --state DIR: each host has a state of its own.
    const auto ssh = tool.folder.write(
        "bin/ssh",
        fmt::format("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\ncase $2 in\n{}esac\n"
                    "[ $# = 6 ] || exit 97\nexec nsenter --net=$space {}/squall-injector $4 $5 $6-$name\n",
                    cases, bin_dir()));
    fs::permissions(ssh, fs::perms::owner_all);
    ::setenv("PATH", (tool.folder.path() / "bin").string().append(":").append(path_before).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_before.c_str(), 1); }

  std::string drill() const {
    return fmt::format(R"(scenario: parted
title: The hosts are parted
squad: storage
blast_radius: {{hosts: 5}}
baseline: {{for: 1s}}
recovery: {{for: 1s}}
services:
  storage: {{probes: [{{command: "true", every: 100ms}}]}}
method:
  - {{name: parted, fault: network.partition, on: {{interface: eth0}}, with: {{topology: {}}}, for: 120s}}
expect:
  - {{service: storage, availability: ">= 1%"}}
)",
                       GetParam());
  }

  std::vector<std::string> told(std::string verb, const std::vector<std::string>& more) const {
    std::vector<std::string> out{std::move(verb), tool.folder.write("drill.yaml", drill()).string(),
                                 "--state",       tool.state().string(),
                                 "--seed",        "7"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  Pairs everybody() const {
    Pairs out;
    for (auto& one : hosts)
      for (auto& other : hosts)
        if (one != other) out.emplace(one->name, other->name);
    return out;
  }

  Pairs planned() {
    Squall planner;
    EXPECT_EQ(planner.run(told("plan", {"--output", "json"})), 0) << planner.output();
    const auto plan = json::parse(planner.output());
    auto out = everybody();
    for (auto& fault : plan.at("plan").as_array())
      for (auto& other : fault.at("cannot_hear").as_array())
        out.erase({std::string(fault.at("host").as_string()), std::string(other.as_string())});
    return out;
  }

  // Everybody tells everybody something; waits for what is expected, and then a little for what is not.
  Pairs heard(const Pairs& expected) {
    const auto round = fmt::format("{}", ++rounds);
    Pairs out;
    const auto listen = [&] {
      for (auto& host : hosts)
        for (auto text = host->hear(); !text.empty(); text = host->hear())
          if (text.starts_with(round + " ")) out.emplace(host->name, text.substr(round.size() + 1));
    };
    const auto talk = [&] {
      for (auto& host : hosts)
        for (auto& other : hosts)
          if (host != other) host->tell(*other, round + " " + host->name);
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
      listen();
    };
    const auto until = Clock::now() + std::chrono::seconds{15};
    do
      talk();
    while (!std::includes(out.begin(), out.end(), expected.begin(), expected.end()) && Clock::now() < until);
    for (int i = 0; i < 5; ++i)
      talk();
    return out;
  }

  bool in_force_everywhere(std::size_t faults) const {
    for (const auto until = Clock::now() + std::chrono::seconds{60}; Clock::now() < until;
         std::this_thread::sleep_for(std::chrono::milliseconds{50})) {
      const auto record = tool.record();
      std::size_t applied = 0;
      for (auto at = record.find("fault.applied"); at != record.npos;
           at = record.find("fault.applied", at + 1))
        ++applied;
      if (applied == faults) return true;
    }
    return false;
  }
};

TEST_P(PartitionTopology, exactly_those_that_the_plan_names_cannot_hear_each_other) {
  const auto all = everybody();
  ASSERT_EQ(heard(all), all);
  const auto expected = planned();
  ASSERT_NE(expected, all);
  std::set<std::string> deaf;
  for (auto& pair : all)
    if (!expected.contains(pair)) deaf.insert(pair.first);
  tool.start(told("run", {"--runs", tool.runs().string()}));
  ASSERT_TRUE(in_force_everywhere(deaf.size())) << tool.output() << tool.record();
  EXPECT_EQ(heard(expected), expected);
  tool.signal(SIGINT);
  EXPECT_EQ(tool.wait(), 4) << tool.output();
  EXPECT_EQ(heard(all), all) << "it was to be over";
  const auto report = tool.report();
  EXPECT_TRUE(report.at("restored").at("clean").as_bool()) << json::serialize(report.at("restored"));
  ASSERT_EQ(report.at("faults").as_array().size(), deaf.size());
  for (auto& fault : report.at("faults").as_array()) {
    EXPECT_TRUE(fault.at("dose").at("verified").as_bool()) << json::serialize(fault);
    EXPECT_NE(json::serialize(fault.at("limits")).find("(ssh, which carries control) is not touched"),
              std::string::npos)
        << json::serialize(fault);
    std::string others;
    const auto host = std::string(fault.at("host").as_string());
    for (auto& [one, other] : all)
      if (one == host && !expected.contains({one, other})) others += (others.empty() ? "" : ", ") + other;
    EXPECT_EQ(fault.at("targets").at(0).as_string(), fmt::format("{} cannot hear {}", host, others));
  }
}

INSTANTIATE_TEST_SUITE_P(Topologies, PartitionTopology,
                         ::testing::Values("isolate_one", "halves", "majority_ring", "one_way"),
                         [](auto& topology) { return std::string(topology.param); });

}  // namespace
}  // namespace squall::test
