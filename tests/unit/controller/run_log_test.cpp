#include "controller/record/run_log.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace squall {
namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder() {
    char name[] = "/tmp/squall-log-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path); }
  std::string path;
};

std::string content(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

TEST(RunLog, every_event_is_a_line_on_disk_before_an_observer_sees_it) {
  Folder folder;
  RunLog log{folder.path, "drill"};
  std::string seen;
  log.observe([&](const boost::json::object&) { seen = content(log.folder() + "/events.jsonl"); });
  log.add("window.started", {{"window", "baseline"}});
  EXPECT_NE(seen.find("\"kind\":\"window.started\""), std::string::npos);
  EXPECT_EQ(seen, log.text());
  EXPECT_EQ(seen.back(), '\n');
}

TEST(RunLog, what_others_say_is_harmless_on_a_terminal_and_holds_no_password) {
  Folder folder;
  RunLog log{folder.path, "drill"};
  std::string seen;
  log.observe([&](const boost::json::object& event) {
    seen = std::string(event.at("labels").at("alertname").as_string());
  });
  log.add("alert", {{"labels", {{"alertname", "W\x1b[2J\xff"}, {"a\x1b", 1}}},
                    {"error", "postgresql://app:s3cret@db/x: no route"}});
  EXPECT_EQ(seen, "W\\x1b[2J\\xff");
  const auto line = boost::json::parse(content(log.folder() + "/events.jsonl"));
  EXPECT_EQ(line.at("error").as_string(), "postgresql://app:REDACTED@db/x: no route");
  EXPECT_EQ(line.at("labels").at("a\\x1b").as_int64(), 1);
  struct stat info{};
  ASSERT_EQ(::stat((log.folder() + "/events.jsonl").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST(RunLog, two_runs_within_a_second_get_folders_of_their_own) {
  Folder folder;
  RunLog one{folder.path, "drill"}, two{folder.path, "drill"};
  EXPECT_NE(one.folder(), two.folder());
}

TEST(RunLog, the_reserve_is_given_back_at_the_end) {
  Folder folder;
  std::string file;
  {
    RunLog log{folder.path, "drill"};
    file = log.folder() + "/events.jsonl";
    log.add("run.ended");
  }
  struct stat info{};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, 64 << 10);
}

TEST(RunLog, a_folder_that_cannot_be_made_is_named) {
  Folder folder;
  std::ofstream{folder.path + "/file"} << "x";
  try {
    RunLog log{folder.path + "/file/runs", "drill"};
    FAIL() << "expected an error";
  } catch (const std::exception& e) {
    EXPECT_NE(std::string(e.what()).find("/file/runs"), std::string::npos) << e.what();
  }
}

// In a mount namespace of its own: a disk that fills up while the drill runs. 0 when every line is there.
int fill_up() {
  Folder folder;
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (::mount("tmpfs", folder.path.c_str(), "tmpfs", 0, "size=24m") != 0) return 77;
  int lines = 0;
  std::string file;
  {
    RunLog log{folder.path, "drill"};
    file = log.folder() + "/events.jsonl";
    const std::string padding(4000, 'x');
    while (log.trouble().empty() && lines < 20'000) {
      log.add("probe", {{"padding", padding}});
      ++lines;
    }
    if (log.trouble().empty()) return 1;
    for (int i = 0; i < 100; ++i, ++lines)
      log.add("fault.undone", {{"padding", padding}});  // what the end still writes
    if (content(file) != log.text()) return 2;
  }
  const auto text = content(file);
  const auto written = std::count(text.begin(), text.end(), '\n');
  ::umount2(folder.path.c_str(), MNT_DETACH);
  return written == lines ? 0 : 3;
}

TEST(RunLog, a_disk_that_fills_up_is_noticed_while_there_is_room_for_the_end) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root for a small file system of its own";
  const auto pid = ::fork();
  if (pid == 0) ::_exit(fill_up());
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespace may be made here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace squall
