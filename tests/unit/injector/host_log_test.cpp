// What is logged reaches the file and the syslog, and what cannot be reached delays nothing.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/system/host_log.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HostLog : public ::testing::Test {
 protected:
  HostLog() {
    std::string made = ::testing::TempDir() + "squall-log-XXXXXX";
    folder = ::mkdtemp(made.data());
  }
  ~HostLog() override {
    open_log({.socket = ""});
    std::filesystem::remove_all(folder);
  }
  std::string written() const { return read_file(folder + "/log").value_or(""); }
  // A syslog of our own, that reads nothing by itself.
  Fd listen() const {
    Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    (folder + "/syslog").copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return socket;
  }
  std::string folder;
};

TEST_F(HostLog, TellsFileAndSyslogWhoSaysWhat) {
  const auto syslog = listen();
  ASSERT_EQ(open_log({"squall-guardian", "info", folder + "/log", folder + "/syslog"}), "");
  log_line(LogLevel::debug, "too much");
  log_line(LogLevel::warning, "a step of\nsomebody's {}");
  EXPECT_THAT(written(),
              AllOf(HasSubstr("squall-guardian["), HasSubstr("] warning: a step of\\x0asomebody's {}\n"),
                    Not(HasSubstr("too much"))));
  char heard[200]{};
  ASSERT_GT(::recv(syslog.get(), heard, sizeof heard - 1, MSG_DONTWAIT), 0);
  EXPECT_THAT(heard, AllOf(HasSubstr("<28>squall-guardian["), HasSubstr("]: a step of")));  // daemon.warning
}

TEST_F(HostLog, DoesNotWaitForASyslogThatReadsNothing) {
  const auto syslog = listen();
  ASSERT_EQ(open_log({"squall-injector", "info", folder + "/log", folder + "/syslog"}), "");
  for (int i = 0; i < 2000; ++i)  // far more than its socket takes
    log_line(LogLevel::info, "undone");
  const auto text = written();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2000);
}

TEST_F(HostLog, KeepsLinesUntilWhatIsUrgentIsDone) {
  ASSERT_EQ(open_log({"squall-injector", "info", folder + "/log", ""}), "");
  {
    const HoldLogFile outer;
    const HoldLogFile inner;
    log_line(LogLevel::info, "one");
    log_line(LogLevel::info, "two");
    EXPECT_EQ(written(), "");
  }
  EXPECT_THAT(written(), AllOf(HasSubstr("info: one\n"), HasSubstr("info: two\n")));
}

TEST_F(HostLog, WritesToFilesAlone) {
  std::filesystem::create_symlink(folder + "/elsewhere", folder + "/log");
  EXPECT_THAT(open_log({"squall-injector", "info", folder + "/log", ""}),
              HasSubstr("/log\": Too many levels"));
  EXPECT_FALSE(std::filesystem::exists(folder + "/elsewhere"));
  EXPECT_THAT(open_log({"squall-injector", "info", "/dev/full", ""}), HasSubstr("it is no file"));
  log_line(LogLevel::error, "to nobody");
}

TEST_F(HostLog, TellsAnotherProcessOfOursTheSame) {
  ASSERT_EQ(open_log({"squall-injector", "debug", folder + "/log", ""}), "");
  EXPECT_THAT(log_arguments(), ::testing::ElementsAre("--log-level", "debug", "--log-file", folder + "/log"));
}

}  // namespace
}  // namespace squall
