// disk.throttle by hand on a loop device of the test's own, by the real binaries; and the guardian when the
// injector dies.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "injector/undo/journal.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

// An ext4 of its own on a loop device, a blkio group of its own, and a process in it that writes and syncs
// all the time.
class ThrottledWriter : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::error_code missing;
    if (!fs::exists("/sys/fs/cgroup/blkio/cgroup.procs", missing))
      GTEST_SKIP() << "needs cgroup v1 with blkio; io.max of v2 is tested elsewhere";
    group = fmt::format("/sys/fs/cgroup/blkio/squall-test-{}", ::getpid());
    const auto image = (folder.path() / "image").string();
    run({"truncate", "-s", "64M", image});
    run({"mkfs.ext4", "-q", image});
    loop = trimmed(run({"losetup", "-f", "--show", image}));
    mount = (folder.path() / "mount").string();
    fs::create_directory(mount);
    run({"mount", loop, mount});
    fs::create_directory(group);
    writer = ::fork();
    if (writer == 0) write_forever();
  }

  void TearDown() override {
    if (writer > 0) {
      ::kill(writer, SIGKILL);
      ::waitpid(writer, nullptr, 0);
    }
    if (!mount.empty()) run({"umount", mount});
    if (!loop.empty()) run({"losetup", "-d", loop});
    if (!group.empty()) fs::remove(group);
  }

  [[noreturn]] void write_forever() {
    std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::endl;
    const int fd = ::open((mount + "/data").c_str(), O_RDWR | O_CREAT, 0644);
    const std::string block(32768, 'x');
    for (long i = 0;; ++i)
      if (::pwrite(fd, block.data(), block.size(), (i % 500) * 32768) < 0 || ::fdatasync(fd) != 0) ::_exit(1);
  }

  std::string limit() const {
    std::ifstream file{group + "/blkio.throttle.write_bps_device"};
    std::string line;
    std::getline(file, line);
    return line;
  }

  bool wait_for_limit(bool wanted, std::chrono::seconds patience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until) {
      if (limit().empty() != wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    return false;
  }

  std::vector<std::string> inject(const std::string& lasts) const {
    return {bin_dir() + "/squall",
            "inject",
            "disk.throttle",
            "write_rate=1MiB/s",
            "--on",
            "path=" + mount,
            "--for",
            lasts,
            "--state",
            (folder.path() / "state").string(),
            "--output",
            "json"};
  }

  TemporaryDirectory folder;
  std::string loop, mount, group;
  pid_t writer = -1;
};

TEST_F(ThrottledWriter, gets_what_was_prescribed_and_its_speed_back) {
  const auto told = boost::json::parse(run(inject("4s"))).as_object();
  const auto& dose = told.at("dose").as_object();
  EXPECT_TRUE(dose.at("verified").as_bool()) << boost::json::serialize(dose);
  const auto measured = dose.at("measured").at("write_bytes_per_s").to_number<double>();
  EXPECT_GT(measured, 0.7 * 1048576);
  EXPECT_LT(measured, 1.3 * 1048576);
  EXPECT_TRUE(told.at("restored").at("clean").as_bool()) << boost::json::serialize(told.at("restored"));
  EXPECT_EQ(limit(), "");
}

TEST_F(ThrottledWriter, keeps_the_limit_somebody_else_had_set) {
  std::ofstream{group + "/blkio.throttle.write_bps_device"}
      << trimmed(run({"lsblk", "-ndo", "MAJ:MIN", loop})) << " 8388608" << std::endl;
  const auto before = limit();
  ASSERT_NE(before, "");
  run(inject("3s"));
  EXPECT_EQ(limit(), before);
}

TEST_F(ThrottledWriter, is_free_again_soon_after_the_injector_was_killed) {
  const auto command = inject("60s");
  std::vector<char*> argv;
  for (auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const auto squall = ::fork();
  if (squall == 0) {
    ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
    ::dup2(STDOUT_FILENO, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ASSERT_TRUE(wait_for_limit(true, std::chrono::seconds{20}));
  const auto journals = read_journals((folder.path() / "state").string());
  ASSERT_EQ(journals.size(), 1u);
  ASSERT_TRUE(journals[0].owner_alive());
  ::kill(journals[0].pid, SIGKILL);
  EXPECT_TRUE(wait_for_limit(false, std::chrono::seconds{1}));
  int status = 0;
  ::waitpid(squall, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

// What cannot be undone is told with the command that finishes the job, and that command does.
TEST_F(ThrottledWriter, somebody_elses_change_meanwhile_is_left_and_told) {
  auto command = inject("2s");
  command.erase(std::find(command.begin(), command.end(), "--output"), command.end());
  std::string line = "exec";
  for (auto& word : command)
    line += " '" + word + "'";
  const auto output = (folder.path() / "output").string();
  const auto squall = ::fork();
  if (squall == 0) {
    ::execl("/bin/sh", "sh", "-c", (line + " >" + output + " 2>&1").c_str(), nullptr);
    ::_exit(127);
  }
  ASSERT_TRUE(wait_for_limit(true, std::chrono::seconds{20}));
  const auto device = trimmed(run({"lsblk", "-ndo", "MAJ:MIN", loop}));
  const auto number = device.substr(device.find_first_not_of(' '));
  std::ofstream{group + "/blkio.throttle.write_bps_device"} << number << " 7340032" << std::endl;
  int status = 0;
  ::waitpid(squall, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 6);
  std::ostringstream text;
  text << std::ifstream{output}.rdbuf();
  const auto said = text.str();
  EXPECT_NE(said.find("somebody changed it since"), said.npos) << said;
  EXPECT_NE(limit(), "") << "it was taken away from whoever set it";
  const auto at = said.find("by hand: ");
  ASSERT_NE(at, said.npos) << said;
  run({"sh", "-c", said.substr(at + 9, said.find('\n', at) - at - 9)});
  EXPECT_EQ(limit(), "");
}

TEST_F(ThrottledWriter, is_free_again_soon_after_squall_was_killed) {
  const auto command = inject("60s");
  std::vector<char*> argv;
  for (auto& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const auto squall = ::fork();
  if (squall == 0) {
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ASSERT_TRUE(wait_for_limit(true, std::chrono::seconds{20}));
  ::kill(squall, SIGKILL);
  EXPECT_TRUE(wait_for_limit(false, std::chrono::seconds{1}));
  ::waitpid(squall, nullptr, 0);
}

}  // namespace
}  // namespace squall::test
