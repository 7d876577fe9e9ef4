// Drills whose verdict must not rest on what nobody saw: squall stopped in the middle, users of two kinds,
// others at work.
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/servers.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using testing::HasSubstr;

class PresenceDrill : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  // New connections to `refused` are refused for so long; `probes` ask what they ask.
  static std::string drill(const Server& refused, const std::string& lasts, const std::string& probes,
                           const std::string& expect) {
    return fmt::format(
        "scenario: refused\ntitle: New users are refused\nsquad: web\nhypothesis: they are\nbaseline: {{for: "
        "1s}}\nrecovery: {{for: 2s}}\n"
        "services:\n  web: {{probes: [{}]}}\n  door: {{probes: [{{tcp: \"{}\", every: 100ms}}]}}\n"
        "method: [{{name: refuse, fault: network.refuse, on: {{listens_on: {}}}, for: {}}}]\nexpect:\n  - "
        "{}\n",
        probes, refused.address(), refused.process->port(), lasts, expect);
  }
  Server web = start_nginx("location / { return 200 ok; }");
  Server door = start_nginx("location / { return 200 ok; }");
  Squall squall;
};

TEST_F(PresenceDrill, stopped_beyond_its_lease_it_says_what_it_did_not_see_and_when_the_fault_ended) {
  squall.start_drill(drill(door, "20s", fmt::format("{{http: \"http://{}/\", every: 50ms}}", web.address()),
                           "{service: web, availability: \">= 99%\"}"));
  ASSERT_TRUE(squall.wait_for_record("fault.dose")) << squall.output();
  squall.signal(SIGSTOP);
  std::this_thread::sleep_for(14s);  // the lease is 10 s
  squall.signal(SIGCONT);
  squall.wait();
  const auto report = squall.report();
  EXPECT_THAT(std::string(report.at("verdict").as_string()), testing::AnyOf("inconclusive", "error"))
      << squall.output();
  EXPECT_EQ(report.at("expectations").at(0).at("verdict").as_string(), "inconclusive") << squall.output();
  EXPECT_THAT(std::string(report.at("findings").at(0).as_string()), HasSubstr("squall stood still"))
      << squall.output();
  const auto record = squall.record();
  EXPECT_THAT(record, HasSubstr("\"kind\":\"gap\""));
  EXPECT_EQ(record.find("not started"), std::string::npos) << "none of them is a failure";
  // It ended when the lease did, 4 s before squall woke.
  const auto windows = report.at("windows").as_object();
  const auto seconds = [](const json::value& text) {
    return std::stoi(std::string(text.as_string().subview(17, 2))) +
           60 * std::stoi(std::string(text.as_string().subview(14, 2)));
  };
  const auto lasted =
      (seconds(windows.at("fault").at("end")) - seconds(windows.at("fault").at("start")) + 3600) % 3600;
  EXPECT_LE(lasted, 13) << json::serialize(windows);
  EXPECT_TRUE(squall.journals_gone());
}

TEST_F(PresenceDrill, whoever_has_a_connection_feels_nothing_of_what_turns_new_users_away) {
  const auto probes = fmt::format(
      "{{http: \"http://{0}/\", name: new, every: 50ms}}, {{http: \"http://{0}/\", name: kept, connection: "
      "kept, every: 50ms}}",
      door.address());
  EXPECT_EQ(squall.drill(drill(door, "2s", probes, "{service: web, availability: \">= 50%\"}")), 1)
      << squall.output();
  const auto report = squall.report();
  EXPECT_THAT(std::string(report.at("expectations").at(0).at("evidence").as_string()),
              testing::StartsWith("new: "))
      << squall.output();
  for (auto& service : report.at("services").as_array()) {
    if (service.at("service").as_string() != "web") continue;
    for (auto& probe : service.at("probes").as_array()) {
      const bool kept = probe.at("probe").as_string() == "kept";
      const auto availability = probe.at("windows").at("fault").at("availability").to_number<double>();
      if (kept)
        EXPECT_EQ(availability, 1) << json::serialize(probe);
      else
        EXPECT_LE(availability, 0.1) << "one may have been due as the fault began: "
                                     << json::serialize(probe);
      const auto& before = probe.at("windows").at("baseline");
      EXPECT_EQ(before.at("new_connections").to_number<int>(),
                kept ? 1 : before.at("probes").to_number<int>())
          << json::serialize(probe);
    }
  }
}

TEST_F(PresenceDrill, what_others_have_in_force_meanwhile_is_told_with_its_times) {
  squall.start_drill(drill(door, "6s", fmt::format("{{http: \"http://{}/\", every: 50ms}}", web.address()),
                           "{service: web, availability: \">= 50%\"}"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  Squall other;
  EXPECT_EQ(other.run({"inject", "network.refuse", "--on", fmt::format("listens_on={}", web.process->port()),
                       "--for", "2s", "--state", squall.state().string()}),
            0)
      << "it refuses the drill's own probes: " << other.output();
  squall.wait();
  const auto report = squall.report();
  const auto& others = report.at("other_drills").as_array();
  ASSERT_EQ(others.size(), 1u) << squall.output();
  EXPECT_EQ(others[0].at("fault").as_string(), "network.refuse");
  EXPECT_TRUE(others[0].at("end").is_string());
  EXPECT_THAT(content(squall.run_folder() / "report.md"),
              HasSubstr("another drill was at work on here meanwhile"));
}

}  // namespace
}  // namespace squall::test
