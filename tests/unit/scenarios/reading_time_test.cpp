#include <gtest/gtest.h>

#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace {

#ifdef NDEBUG
constexpr double most_milliseconds = 50;
#else
constexpr double most_milliseconds = 1000;  // with sanitizers
#endif

// A drill of about so many lines that uses a bit of everything.
std::string long_scenario(int lines) {
  std::string text = "scenario: long\nmethod:\n";
  for (int i = 0; i < lines / 12; ++i)
    text += fmt::format(
        "  - name: step-{}\n    fault: network.delay\n    on: {{service: service-{}, interface: lo}}\n"
        "    with: {{delay: 80ms, jitter: 5ms}}\n    for: 30s\n{}",
        i, i, i ? fmt::format("    after: step-{}\n", i - 1) : "");
  text += "expect:\n";
  for (int i = 0; i < lines / 12; ++i)
    text +=
        fmt::format("  - {{service: service-{}, availability: \">= 99%\", latency_p99: \"<= 400ms\"}}\n", i);
  text += "services:\n";
  for (int i = 0; i < lines / 12; ++i)
    text += fmt::format(
        "  service-{0}:\n    probes:\n      - {{http: \"http://127.0.0.1:{1}/healthz\", every: 100ms}}\n"
        "    slo:\n      availability: 99.9%\n",
        i, 1024 + i % 60'000);
  return text;
}

// The least of some runs: what the reading itself takes on a machine that does other things too.
double milliseconds(const std::string& text, bool good = true) {
  double least = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    Diagnostics diagnostics{"long.yaml", text};
    read_scenario(text, {}, test::small_vocabulary(), diagnostics);
    const auto said = diagnostics.render();
    EXPECT_EQ(said.empty(), good) << said.substr(0, 1000);
    least = std::min(
        least, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

TEST(ReadingTime, a_thousand_lines_are_checked_at_once) {
  const auto text = long_scenario(1000);
  EXPECT_GE(std::count(text.begin(), text.end(), '\n'), 950);
  const auto took = milliseconds(text);
  RecordProperty("milliseconds", std::to_string(took));
  EXPECT_LT(took, most_milliseconds);
}

TEST(ReadingTime, grows_with_the_lines) {
  const auto few = milliseconds(long_scenario(1000)), many = milliseconds(long_scenario(8000));
  EXPECT_LT(many, few * 8 * 3);  // a quadratic share would make it 64 times
}

TEST(ReadingTime, grows_with_the_lines_of_a_file_full_of_mistakes) {
  auto wrong = [](int lines) {
    auto text = long_scenario(lines);
    for (std::size_t at = 0; (at = text.find("delay: 80ms", at)) != std::string::npos; ++at)
      text.replace(at, 5, "dleay");
    for (std::size_t at = 0; (at = text.find("service: service-", at)) != std::string::npos; ++at)
      text.replace(at, 8, "servcie:");
    return text;
  };
  const auto few = milliseconds(wrong(1000), false), many = milliseconds(wrong(8000), false);
  EXPECT_LT(many, few * 8 * 3);
}

}  // namespace
}  // namespace squall
