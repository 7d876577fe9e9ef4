// A drill whose delays stand in a file: plan and report sum them up, the record keeps them.
#include <algorithm>
#include <fstream>
#include <map>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/paths.hpp"
#include "tests/support/servers.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;

class RecordedDelaysDrill : public testing::Test {
 protected:
  static constexpr int delays = 65'536;  // the most that a file may have

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    std::ofstream file{squall.folder.path() / "rtt.txt"};
    // Each is as long as it gets: requests must carry them all the same.
    for (int i = 0; i < delays; ++i)
      file << 12 + i % 3 << "." << 100'000 + i << "\n";
    drill = fmt::format(R"(scenario: recorded
baseline: {{for: 1s}}
recovery: {{for: 1s}}
services:
  edge: {{probes: [{{tcp: "{}", every: 20ms, timeout: 500ms}}]}}
method:
  - {{name: slow, fault: network.delay, on: {{interface: lo}}, with: {{samples: rtt.txt, port: {}, protocol: tcp}}, for: 2s}}
expect:
  - {{service: edge, availability: ">= 10%"}}
)",
                        edge.address(), edge.process->port());
  }
  int inject(const std::string& file) {
    return squall.run({"inject", "network.delay", "samples=" + file, "port=1", "--on", "interface=lo",
                       "--for", "1s", "--state", squall.state()});
  }
  static constexpr auto summary = "65536 recorded delays of rtt.txt, median 13.1328 ms";

  Server edge = start_nginx("location / { return 200 ok; }");
  Squall squall;
  std::string drill;
};

TEST_F(RecordedDelaysDrill, the_plan_sums_them_up) {
  ASSERT_EQ(squall.run({"plan", squall.folder.write("drill.yaml", drill)}), 0) << squall.output();
  EXPECT_NE(squall.output().find(summary), std::string::npos) << squall.output();
  EXPECT_LT(squall.output().size(), 4000U);
}

TEST_F(RecordedDelaysDrill, the_record_keeps_them_and_reports_sum_them_up) {
  ASSERT_EQ(squall.drill(drill), 0) << squall.output();
  const auto report = squall.report();
  const auto& fault = report.at("faults").at(0);
  EXPECT_EQ(fault.at("recorded_delays").as_string(), summary) << squall.output();
  EXPECT_NEAR(fault.at("dose").at("prescribed").at("delay_ms").to_number<double>(), 13.13, 0.05);
  EXPECT_GT(fault.at("dose").at("samples").to_number<int>(), 50);
  EXPECT_TRUE(report.at("restored").at("clean").as_bool());
  const auto record = squall.record();
  const auto started = json::parse(record.substr(0, record.find('\n')));
  const auto& kept = started.at("samples").at(0);
  EXPECT_EQ(kept.at("file").as_string(), "rtt.txt");
  ASSERT_EQ(kept.at("delays_ns").as_array().size(), static_cast<std::size_t>(delays));
  EXPECT_EQ(kept.at("delays_ns").at(1).as_int64(), 13'100'001);
  // Without the file the reports are the same.
  std::filesystem::remove(squall.folder.path() / "rtt.txt");
  for (auto* format : {"html", "markdown", "json"}) {
    const auto again =
        run({bin_dir() + "/squall", "report", squall.run_folder().string(), "--format", format});
    EXPECT_NE(again.find("65536 recorded delays of rtt.txt"), std::string::npos) << format;
    EXPECT_EQ(again.find("13100001"), std::string::npos) << format;
  }
}

TEST_F(RecordedDelaysDrill, a_fault_by_hand_takes_a_file_too) {
  const auto file = (squall.folder.path() / "rtt.txt").string();
  // Nothing passes: what is wanted is that it was applied.
  EXPECT_EQ(inject(file), 3) << squall.output();
  EXPECT_NE(squall.output().find(fmt::format("65536 recorded delays of {}, median 13.1328 ms", file)),
            std::string::npos)
      << squall.output();
  std::ofstream{file} << "12\ntwelve\n";
  EXPECT_EQ(inject(file), 2);
  EXPECT_NE(squall.output().find(file + ":2:1: error: expected a duration"), std::string::npos)
      << squall.output();
}

}  // namespace
}  // namespace squall::test
