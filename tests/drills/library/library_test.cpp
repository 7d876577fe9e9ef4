// Every shipped drill ends as its header says, against the real stack, and its report says why.
#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

class Library : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    // What the drill before left dead is started, and its alerts have ended.
    ::setenv("SQUALL_STACK_DIR", (bin_dir() + "/../stack").c_str(), 1);
    run({source_dir() + "/scripts/stack", "start"});
  }

  void start(const std::string& drill) {
    const auto library = source_dir() + "/scenarios/library/";
    squall.start({"run", library + drill + ".yaml", "--landscape", library + "landscape.yaml", "--state",
                  squall.state().string(), "--runs", squall.runs().string()});
  }
  json::object ends(int code, const std::string& verdict) {
    EXPECT_EQ(squall.wait(), code) << squall.output();
    auto report = squall.report();
    EXPECT_EQ(report.at("verdict").as_string(), verdict) << squall.output();
    EXPECT_TRUE(report.at("restored").at("clean").as_bool()) << json::serialize(report.at("restored"));
    EXPECT_TRUE(report.at("faults").at(0).at("dose").at("verified").as_bool())
        << json::serialize(report.at("faults"));
    EXPECT_TRUE(squall.journals_gone());
    return report;
  }
  json::object run_drill(const std::string& drill, int code, const std::string& verdict) {
    start(drill);
    return ends(code, verdict);
  }
  Squall squall;
};

// What did not hold, in the words of the report.
std::vector<std::string> violated(const json::object& report) {
  std::vector<std::string> out;
  for (auto& one : report.at("expectations").as_array())
    if (one.at("verdict").as_string() != "held") out.emplace_back(one.at("expectation").as_string());
  return out;
}

const json::object& service(const json::object& report, std::string_view name) {
  for (auto& one : report.at("services").as_array())
    if (one.at("service").as_string() == name) return one.as_object();
  throw std::runtime_error("no such service in the report");
}

json::object alert(const json::object& report, std::string_view name) {
  for (auto& one : report.at("alerts").as_array())
    if (one.at("alert").as_string() == name) return one.as_object();
  return {};
}

double number(const json::object& object, std::string_view key) {
  return object.at(key).to_number<double>();
}

// The median of round trips to Redis, by a client of the test's own.
double redis_median_ms(unsigned count) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(19030);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{2, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::vector<double> trips;
  char answer[64];
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    for (unsigned i = 0; i < count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      if (::send(fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6 || ::recv(fd, answer, sizeof answer, 0) <= 0) break;
      trips.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
  ::close(fd);
  if (trips.size() < count) throw std::runtime_error("Redis does not answer");
  std::nth_element(trips.begin(), trips.begin() + static_cast<std::ptrdiff_t>(trips.size() / 2), trips.end());
  return trips[trips.size() / 2];
}

TEST_F(Library, an_edge_dies_and_users_do_not_notice) {
  const auto report = run_drill("edge-killed", 0, "pass");
  EXPECT_THAT(violated(report), IsEmpty());
  const auto told = alert(report, "EdgeDown");
  EXPECT_EQ(told.at("outcome").as_string(), "caught");
  EXPECT_EQ(json::serialize(told.at("reached")), R"(["edge"])");
  EXPECT_GT(number(told, "fired_after_s"), 0);
  const auto& measured = report.at("faults").at(0).at("dose").at("measured").as_object();
  EXPECT_GE(number(measured, "died"), 2) << "the master and its workers";
  EXPECT_GE(number(measured, "successors"), 1);
  EXPECT_GT(number(service(report, "edge-1"), "time_to_recover_s"), 0)
      << "it was away, and counts from its death";
}

TEST_F(Library, the_unsupervised_batch_service_stays_dead_and_nobody_is_told) {
  const auto report = run_drill("batch-unsupervised", 1, "fail");
  EXPECT_THAT(violated(report),
              testing::ElementsAre("service batch recovers within 8s", HasSubstr("alert TopListsOld")));
  const auto reasons = json::serialize(report.at("reasons"));
  EXPECT_THAT(reasons, HasSubstr("service batch recovers within 8s: not back in the "));
  EXPECT_THAT(reasons, HasSubstr("missing: did not fire"));
  EXPECT_EQ(report.at("faults").at(0).at("dose").at("measured").at("successors").to_number<int>(), 0);
  EXPECT_TRUE(service(report, "batch").at("time_to_recover_s").is_null());
}

TEST_F(Library, redis_gets_slow_and_the_right_squad_is_paged) {
  start("redis-slow");
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  const auto trip = redis_median_ms(100);
  const auto report = ends(0, "pass");
  EXPECT_THAT(violated(report), IsEmpty());
  const auto told = alert(report, "CacheSlow");
  EXPECT_EQ(told.at("outcome").as_string(), "caught");
  EXPECT_EQ(json::serialize(told.at("reached")), R"(["cache"])");
  const auto& measured = report.at("faults").at(0).at("dose").at("measured").as_object();
  EXPECT_NEAR(number(measured, "delay_ms"), 80, 1 + 0.05 * 80);
  EXPECT_NEAR(number(measured, "delay_ms"), trip, 0.05 * trip)
      << "an independent client sees what the report says";
}

TEST_F(Library, the_raid_battery_dies_and_the_volume_crawls) {
  const auto report = run_drill("raid-battery-dead", 0, "pass");
  EXPECT_THAT(violated(report), IsEmpty());
  EXPECT_EQ(json::serialize(alert(report, "VolumeWritesSlow").at("reached")), R"(["storage"])");
  const auto& dose = report.at("faults").at(0).at("dose");
  EXPECT_NEAR(number(dose.at("measured").as_object(), "write_bytes_per_s") / (128 << 10), 1, 0.25);
  const auto& plays = service(report, "plays");
  EXPECT_LT(number(plays.at("windows").at("fault").as_object(), "availability"), 0.9)
      << "plays were not counted in time";
  EXPECT_FALSE(plays.at("time_to_recover_s").is_null());
}

TEST_F(Library, the_only_redis_dies_and_is_a_cache_and_no_more) {
  const auto report = run_drill("redis-killed", 0, "pass");
  EXPECT_THAT(violated(report), IsEmpty());
  EXPECT_GT(number(service(report, "redis"), "time_to_recover_s"), 0);
}

}  // namespace
}  // namespace squall::test
