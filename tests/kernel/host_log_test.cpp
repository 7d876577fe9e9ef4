// Who looks after a host whose injector was killed finds in its log what was put back.
#include <signal.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(HostLogOfTheKilled, TellsWhatTheGuardianPutBack) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const testing::OwnNetwork network;
  std::string made = ::testing::TempDir() + "squall-log-XXXXXX";
  const std::string folder = ::mkdtemp(made.data());
  const auto log = folder + "/log";
  test::InjectorProcess injector{folder, "", {"--log-file", log}};
  const auto session =
      std::string(injector.must({{"do", "hello"}, {"version", 1}, {"run", "logged"}, {"environment", "test"}})
                      .at("session")
                      .as_string());
  injector.must({{"do", "apply"},
                 {"step", "narrow"},
                 {"fault", "network.mtu"},
                 {"with", {{"mtu", 1300}}},
                 {"on", {{"interface", "sqa"}}},
                 {"for_ns", 60'000'000'000}});
  EXPECT_THAT(testing::shell("ip link show sqa"), HasSubstr("mtu 1300"));
  ::kill(injector.pid(), SIGKILL);
  injector.end();
  std::string text;
  for (int i = 0; i < 100 && text.find(": undone: ") == text.npos; ++i) {
    ::usleep(50'000);
    text = read_file(log).value_or("");
  }
  EXPECT_THAT(text,
              AllOf(ContainsRegex("squall-injector\\[[0-9]+\\] info: session " + session +
                                  " step \"narrow\": network.mtu by .* is in force until"),
                    ContainsRegex("squall-guardian\\[[0-9]+\\] warning: squall-injector\\[[0-9]+\\] died"),
                    ContainsRegex("squall-guardian\\[[0-9]+\\] info: session " + session +
                                  " step \"narrow\": undone: ")))
      << text;
  EXPECT_THAT(testing::shell("ip link show sqa"), HasSubstr("mtu 1500"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace squall
