// disk.latency by the real binaries on a folder of a service with a mount namespace of its own; and when the
// injector, and the overlay's own processes with it, are killed.
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "injector/overlay/detach.hpp"
#include "injector/system/read_file.hpp"
#include "injector/undo/journal.hpp"
#include "tests/support/own_mounts.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall::test {
namespace {

using namespace std::chrono_literals;
using squall::testing::OwnMounts;

class OverlaidService : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/fuse";
    mounts = std::make_unique<OwnMounts>();
    service = mounts->begin([this] {
      for (;;) {
        const int file = ::open((mounts->folder() + "/data").c_str(), O_CREAT | O_RDWR, 0600);
        if (::pwrite(file, "x", 1, 0) != 1 || ::fdatasync(file) != 0) ::_exit(1);
        ::close(file);
        ::usleep(2000);
      }
    });
  }
  void TearDown() override {
    if (service <= 0) return;
    EXPECT_EQ(::waitpid(service, nullptr, WNOHANG), 0) << "the service saw an error";
    ::kill(service, SIGKILL);
    ::waitpid(service, nullptr, 0);
  }

  std::vector<std::string> inject(const std::string& lasts) const {
    return {bin_dir() + "/squall",
            "inject",
            "disk.latency",
            "flush=20ms",
            "--on",
            "path=" + mounts->folder(),
            "--on",
            fmt::format("pid={}", mounts->pid()),
            "--for",
            lasts,
            "--state",
            state(),
            "--output",
            "json"};
  }
  std::string state() const { return (folder.path() / "state").string(); }
  bool mounted() const {
    return read_file(fmt::format("/proc/{}/mountinfo", mounts->pid())).value_or("").find(" - fuse squall-") !=
           std::string::npos;
  }
  bool wait_until(bool wanted, std::chrono::milliseconds patience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (mounted() != wanted && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(1ms);
    return mounted() == wanted;
  }
  // Begins an injection in the background; the injector's pid when the overlay is in place.
  pid_t begin() {
    caller = ::fork();
    if (caller == 0) {
      ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
      ::dup2(STDOUT_FILENO, STDERR_FILENO);
      auto words = inject("60s");
      std::vector<char*> argv;
      for (auto& word : words)
        argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    if (!wait_until(true, 20s)) return -1;
    const auto journals = read_journals(state());
    return journals.size() == 1 ? journals[0].pid : -1;
  }
  void end() const { ::waitpid(caller, nullptr, 0); }

  TemporaryDirectory folder;
  std::unique_ptr<OwnMounts> mounts;
  pid_t service = -1, caller = -1;
};

TEST_F(OverlaidService, is_slow_for_as_long_as_was_asked_and_as_found_after_it) {
  const auto told = boost::json::parse(run(inject("2s"))).as_object();
  const auto& dose = told.at("dose").as_object();
  EXPECT_TRUE(dose.at("verified").as_bool()) << boost::json::serialize(dose);
  EXPECT_NEAR(dose.at("measured").at("flush_ms").to_number<double>(), 20, 4) << boost::json::serialize(dose);
  EXPECT_TRUE(told.at("restored").at("clean").as_bool()) << boost::json::serialize(told.at("restored"));
  EXPECT_FALSE(mounted());
}

TEST_F(OverlaidService, has_its_folder_back_when_the_injector_was_killed) {
  const auto injector = begin();
  ASSERT_GT(injector, 0);
  ::kill(injector, SIGKILL);
  EXPECT_TRUE(wait_until(false, 2s));
  end();
  std::this_thread::sleep_for(100ms);
}

TEST_F(OverlaidService, has_its_folder_back_when_injector_and_keeper_were_killed_at_once) {
  const auto injector = begin();
  ASSERT_GT(injector, 0);
  const auto point = read_file(fmt::format("/proc/{}/mountinfo", mounts->pid())).value_or("");
  const auto from = point.find(" - fuse squall-") + 8;
  const auto tag = point.substr(from, point.find(' ', from) - from);
  const auto processes = overlay::processes_of(tag);
  ASSERT_EQ(processes.size(), 2U) << tag;
  ::kill(injector, SIGKILL);
  ::kill(processes.front(), SIGKILL);
  EXPECT_TRUE(wait_until(false, 2s));
  end();
  std::this_thread::sleep_for(100ms);
}

}  // namespace
}  // namespace squall::test
