#include <gtest/gtest.h>

#include "controller/commands/command_line.hpp"

namespace squall {
namespace {

struct Said {
  int code;
  std::string text;
};

Said squall(std::vector<std::string> words) {
  words.insert(words.begin(), "squall");
  std::vector<char*> argv;
  for (auto& word : words)
    argv.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = command_line(static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr()};
}

TEST(CommandLine, help_tells_every_command) {
  const auto said = squall({"help"});
  EXPECT_EQ(said.code, 0);
  for (const char* command : {"run", "plan", "check", "halt", "runs", "inject", "faults", "doctor", "status",
                              "undo", "report", "compare"})
    EXPECT_NE(said.text.find(std::string("\n  ") + command + " "), std::string::npos) << command << " in\n"
                                                                                      << said.text;
}

TEST(CommandLine, help_of_a_command_tells_how_it_is_used) {
  const auto said = squall({"help", "plan"});
  EXPECT_EQ(said.code, 0);
  EXPECT_NE(said.text.find("Usage: squall plan"), std::string::npos) << said.text;
  EXPECT_NE(said.text.find("--seed"), std::string::npos) << said.text;
}

TEST(CommandLine, an_unknown_command_is_wrong_input) {
  EXPECT_EQ(squall({"help", "storm"}).code, 2);
  EXPECT_EQ(squall({"storm"}).code, 2);
  EXPECT_EQ(squall({}).code, 2);
}

TEST(CommandLine, a_misspelt_command_is_guessed) {
  EXPECT_NE(squall({"rum", "x"}).text.find("no command is called \"rum\"; did you mean \"run\"?"),
            std::string::npos);
  EXPECT_NE(squall({"run"}).text.find("`squall help run` tells how it is used"), std::string::npos);
}

TEST(CommandLine, options_may_stand_before_the_command_and_the_fault_behind_its_parameters) {
  const auto said = squall({"--output", "json", "faults", "process.kill"});
  EXPECT_EQ(said.code, 0);
  EXPECT_TRUE(said.text.starts_with("{\"fault\":\"process.kill\"")) << said.text;
  const auto aimed =
      squall({"inject", "--on", "listens_on=21080", "process.kill", "signal=SIGNOTHING", "--plan"});
  EXPECT_EQ(aimed.code, 2);
  EXPECT_NE(aimed.text.find("process.kill: error: signal"), std::string::npos) << aimed.text;
  EXPECT_EQ(
      squall({"inject", "signal=SIGNOTHING", "process.kill", "--plan", "--on", "listens_on=21080"}).text,
      aimed.text);
}

TEST(CommandLine, helps_with_a_family_of_faults_and_with_files) {
  const auto family = squall({"help", "network"});
  EXPECT_EQ(family.code, 0);
  for (auto* name : {"network.delay", "network.loss"})
    EXPECT_NE(family.text.find(name), std::string::npos) << family.text;
  EXPECT_NE(squall({"help", "scenario"}).text.find("\n  blast_radius"), std::string::npos);
  EXPECT_NE(squall({"help", "landscape"}).text.find("\n  alert_sources"), std::string::npos);
}

TEST(CommandLine, helps_with_a_fault_by_its_name) {
  const auto said = squall({"help", "network.delay"});
  EXPECT_EQ(said.code, 0);
  EXPECT_EQ(said.text, squall({"faults", "network.delay"}).text);
  EXPECT_EQ(squall({"help", "network.dleay"}).code, 2);
}

}  // namespace
}  // namespace squall
