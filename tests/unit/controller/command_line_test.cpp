#include <gtest/gtest.h>

#include "controller/command_line.hpp"

namespace squall {
namespace {

struct Said {
  int code;
  std::string text;
};

Said squall(std::vector<std::string> words) {
  words.insert(words.begin(), "squall");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = command_line(static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr()};
}

TEST(CommandLine, help_tells_every_command) {
  const auto said = squall({"help"});
  EXPECT_EQ(said.code, 0);
  for (const char* command : {"run", "plan", "check", "halt", "inject", "faults", "doctor", "status", "undo", "report", "compare"})
    EXPECT_NE(said.text.find(std::string("\n  ") + command + " "), std::string::npos) << command << " in\n" << said.text;
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

TEST(CommandLine, helps_with_a_fault_by_its_name) {
  const auto said = squall({"help", "network.delay"});
  EXPECT_EQ(said.code, 0);
  EXPECT_EQ(said.text, squall({"faults", "network.delay"}).text);
  EXPECT_EQ(squall({"help", "network.dleay"}).code, 2);
}

}  // namespace
}  // namespace squall
