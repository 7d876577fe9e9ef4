// Services with a network namespace of their own, as containers have, that are started anew while a network
// fault is in force.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/targets.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::OwnGroup;
using testing::OwnNetwork;
using testing::RunFault;
using testing::ServerProcess;
using testing::shell;

struct Case {
  const char* fault;
  boost::json::object with, on;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.fault;
}

class TargetInItsNamespace : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  std::unique_ptr<ServerProcess> start() const { return start_in(group.folder); }
  static std::unique_ptr<ServerProcess> start_in(const std::string& cgroup_folder) {
    return std::make_unique<ServerProcess>(
        [] {
          if (::unshare(CLONE_NEWNET) == 0) shell("ip link set lo up");
          return std::make_shared<int>(0);
        },
        cgroup_folder);
  }
  bool told(Fault& fault) const {
    return fault.measure().reason.find(
               "is in another network namespace than the one that is acted in, and is not hit") !=
           std::string::npos;
  }
  bool told_in_time(Fault& fault) const {
    for (int i = 0; i < 30; ++i, ::usleep(100'000))
      if (told(fault)) return true;
    return false;
  }

  boost::json::object aim(boost::json::object on = {}) const {
    on["cgroup"] = std::filesystem::path{group.folder}.filename().string();
    return on;
  }

  OwnNetwork network;
  OwnGroup group;
};

class RestartedTarget : public TargetInItsNamespace, public ::testing::WithParamInterface<Case> {};

TEST_P(RestartedTarget, has_escaped_and_the_dose_says_so) {
  const auto before = snapshot_host();
  auto service = start();
  RunFault fault{GetParam().fault, GetParam().with, aim(GetParam().on)};
  fault.apply();
  EXPECT_FALSE(told(fault.fault()));
  service.reset();
  const auto gone = fault->measure();
  EXPECT_FALSE(told(fault.fault())) << "nobody runs who could have escaped";
  EXPECT_EQ(gone.reason.find("measuring failed"), std::string::npos);
  service = start();
  EXPECT_TRUE(told_in_time(fault.fault())) << fault->measure().reason;
  EXPECT_FALSE(fault->measure().verified);
  EXPECT_NE(fault->measure().reason.find("[" + std::to_string(service->pid()) + "], started at "),
            std::string::npos)
      << fault->measure().reason;
  const auto count = [&] {
    const auto events = fault->events();
    return std::count_if(events.begin(), events.end(),
                         [](auto& one) { return one.event == "fault.ineffective"; });
  };
  EXPECT_GE(count(), 1);
  EXPECT_EQ(count(), 0) << "once";
  EXPECT_EQ(fault.undo(), "");
  EXPECT_TRUE(told(fault.fault()));
  service.reset();
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

// The kernel gives the inode of a namespace that is gone to the next one.
TEST_F(TargetInItsNamespace, has_escaped_to_one_that_got_the_inode_of_its_own) {
  // The lowest that is free is given: those below are kept. Nothing where somebody else on this machine was
  // quicker.
  const auto start_with_the_inode = [](std::uint64_t wanted) -> std::unique_ptr<ServerProcess> {
    std::vector<std::unique_ptr<ServerProcess>> kept;
    for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{3};
         std::chrono::steady_clock::now() < until;) {
      kept.push_back(start_in(""));
      if (network_namespace_of(kept.back()->pid()) == wanted) return std::move(kept.back());
    }
    return nullptr;
  };
  for (auto& [name, with, on] : {Case{"network.mtu", {{"mtu", 1500}}, {{"interface", "lo"}}},
                                 Case{"network.reset", {{"every", "1s"}}, {}}}) {
    std::unique_ptr<ServerProcess> successor;
    for (int attempt = 0; attempt < 5 && !successor; ++attempt) {
      auto service = start();
      const auto inode = network_namespace_of(service->pid());
      RunFault fault{name, with, aim(on)};
      fault.apply();
      service.reset();
      successor = start_with_the_inode(inode);
      if (!successor) continue;
      std::ofstream{group.folder + "/cgroup.procs"} << successor->pid();
      EXPECT_TRUE(told_in_time(fault.fault())) << name << ": " << fault->measure().reason;
      EXPECT_EQ(fault.undo(), "");
    }
    EXPECT_TRUE(successor) << "nothing is tested";
  }
}

TEST_F(TargetInItsNamespace, is_not_missed_while_processes_of_it_come_and_go_there) {
  const auto service = start();
  const auto helper = [&] {
    return std::make_unique<ServerProcess>(
        [&] {
          const int fd =
              ::open(("/proc/" + std::to_string(service->pid()) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
          return ::setns(fd, CLONE_NEWNET) == 0 ? std::make_shared<int>(0) : nullptr;
        },
        group.folder);
  };
  auto other = helper();
  RunFault fault{"network.delay", {{"delay", "5ms"}}, aim()};
  fault.apply();
  other.reset();
  fault->measure();
  other = helper();
  ::usleep(1'100'000);
  EXPECT_FALSE(told(fault.fault()));
  EXPECT_EQ(fault.undo(), "");
}

INSTANTIATE_TEST_SUITE_P(
    Of, RestartedTarget,
    ::testing::Values(Case{"network.delay", {{"delay", "5ms"}, {"direction", "both"}}, {}},
                      Case{"network.partition", {}, {}}, Case{"network.refuse", {}, {}},
                      Case{"tcp.latency", {{"latency", "5ms"}}, {}}, Case{"dns.fail", {}, {}},
                      Case{"network.mtu", {{"mtu", 1500}}, {{"interface", "lo"}}},
                      Case{"network.occupy", {{"port", {7020}}}, {}},
                      Case{"network.reset", {{"every", "1s"}}, {}}),
    [](auto& info) {
      std::string name = info.param.fault;
      name.replace(name.find('.'), 1, "_");
      return name;
    });

}  // namespace
}  // namespace squall
