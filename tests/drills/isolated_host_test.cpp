// A host that is reached by ssh, by a real sshd in a network namespace of the test's own, and a fault that
// cuts this very link: the host gets rid of it by itself when the lease runs out.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/own_network.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class IsolatedHost : public ::testing::Test {
 protected:
  ::squall::testing::OwnNetwork network;
  TemporaryDirectory folder;
  std::promise<void> over;
  std::thread sshd;
  std::string path_before = std::getenv("PATH");
  Squall tool;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    const auto in_folder = [&](const char* name) { return (folder.path() / name).string(); };
    for (auto* key : {"host", "user"})
      run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", in_folder(key)});
    fs::copy_file(in_folder("user.pub"), in_folder("authorized"));
    const auto config =
        folder.write("sshd_config",
                     "ListenAddress 0.0.0.0\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin "
                     "yes\nPasswordAuthentication no\nHostKey " +
                         in_folder("host") + "\nAuthorizedKeysFile " + in_folder("authorized") +
                         "\nSetEnv PATH=" + bin_dir() + ":/usr/sbin:/usr/bin:/sbin:/bin\n");
    // It wants a folder in /run, which is the machine's: it gets a /run of its own. It dies with the thread
    // that starts it.
    const std::string command =
        "mount -t tmpfs run /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f " + config.string();
    std::promise<void> ready;
    sshd = std::thread{[&, command] {
      network.at_the_other_end([&] {
        try {
          const ServerProcess server{
              {.command = {"unshare", "-m", "sh", "-c", command}, .port = 22, .user = ""}};
          ready.set_value();
          over.get_future().wait();
        } catch (...) {
          ready.set_exception(std::current_exception());
        }
      });
    }};
    ready.get_future().get();
    fs::create_directory(folder.path() / "bin");
    const auto wrapper =
        folder.write("bin/ssh", "#!/bin/sh\nexec /usr/bin/ssh -i " + in_folder("user") +
                                    " -oIdentitiesOnly=yes -oStrictHostKeyChecking=no "
                                    "-oUserKnownHostsFile=/dev/null -oLogLevel=ERROR \"$@\"\n");
    fs::permissions(wrapper, fs::perms::owner_all);
    ::setenv("PATH", (folder.path() / "bin").string().append(":").append(path_before).c_str(), 1);
    folder.write("landscape.yaml", "hosts:\n  far:\n    link: ssh\n    address: root@10.99.0.2\n");
  }
  void TearDown() override {
    ::setenv("PATH", path_before.c_str(), 1);
    over.set_value();
    if (sshd.joinable()) sshd.join();
  }

  std::vector<std::string> partition(const std::string& more) const {
    std::vector<std::string> out{"inject",
                                 "network.partition",
                                 "to=10.99.0.1",
                                 "--on",
                                 "interface=sqb",
                                 "--for",
                                 "60s",
                                 "--host",
                                 "far",
                                 "--landscape",
                                 (folder.path() / "landscape.yaml").string()};
    if (!more.empty()) out.push_back(more);
    return out;
  }
  static bool reachable() {
    const auto seen =
        ::squall::testing::shell("ping -q -c 1 -W 1 10.99.0.2 >/dev/null 2>&1 && echo yes || echo no");
    return seen.starts_with("yes");
  }
  static bool wait_until(bool wanted, std::chrono::seconds patience) {
    for (const auto until = Clock::now() + patience; Clock::now() < until;) {
      if (reachable() == wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    return false;
  }
};

TEST_F(IsolatedHost, is_reached_by_ssh_and_keeps_its_link_through_a_partition) {
  tool.start(partition(""));
  ASSERT_TRUE(wait_until(false, std::chrono::seconds{20})) << tool.output();
  // Longer than the lease: it is renewed over the link that was spared.
  std::this_thread::sleep_for(std::chrono::seconds{12});
  EXPECT_FALSE(reachable());
  tool.signal(SIGINT);
  EXPECT_TRUE(wait_until(true, std::chrono::seconds{5}));
  tool.wait();
  EXPECT_TRUE(tool.journals_gone());
}

TEST_F(IsolatedHost, gets_rid_of_the_fault_that_cut_its_link_when_the_lease_runs_out) {
  tool.start(partition("allow_isolation=true"));
  ASSERT_TRUE(wait_until(false, std::chrono::seconds{20})) << tool.output();
  const auto cut_off = Clock::now();
  ASSERT_TRUE(wait_until(true, std::chrono::seconds{30})) << tool.output();
  const auto lasted = std::chrono::duration<double>(Clock::now() - cut_off).count();
  EXPECT_LT(lasted, 15) << "the lease is 10 s";
  EXPECT_GT(lasted, 2) << "it was to stay in force until then";
  EXPECT_NE(tool.wait(), 0) << tool.output();
  EXPECT_TRUE(tool.journals_gone());
  EXPECT_NE(tool.output().find("the link to far was lost"), std::string::npos) << tool.output();
}

}  // namespace
}  // namespace squall::test
