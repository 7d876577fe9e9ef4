#include "controller/plan/planner.hpp"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gtest/gtest.h>

#include "controller/engine/requests.hpp"
#include "controller/plan/foresight.hpp"
#include "controller/plan/vocabulary.hpp"
#include "scenarios/model/reader.hpp"

namespace squall {
namespace {

Scenario scenario_with(int hosts, Selector on) {
  Scenario scenario;
  for (int i = 1; i <= hosts; ++i)
    scenario.landscape.hosts[fmt::format("db{}", i)].labels["rack"] = i % 2 ? "odd" : "even";
  Step step;
  step.name = "slow";
  step.fault = "network.delay";
  step.on = std::move(on);
  step.place = {7, 5};
  scenario.method.push_back(std::move(step));
  scenario.blast_radius.hosts = 100;
  return scenario;
}

std::vector<std::string> hosts_of(const Plan& plan) {
  std::vector<std::string> out;
  for (auto& fault : plan.faults)
    out.push_back(fault.host);
  return out;
}

TEST(Planner, without_a_selector_every_host_is_meant) {
  Diagnostics wrong;
  const auto scenario = scenario_with(3, {});
  EXPECT_EQ(hosts_of(make_plan(scenario, 1, wrong)), (std::vector<std::string>{"db1", "db2", "db3"}));
  EXPECT_TRUE(wrong.ok());
}

TEST(Planner, a_landscape_without_hosts_means_this_one) {
  Diagnostics wrong;
  const auto scenario = scenario_with(0, {});
  EXPECT_EQ(hosts_of(make_plan(scenario, 1, wrong)), (std::vector<std::string>{"here"}));
}

TEST(Planner, steps_that_need_the_same_thing_at_the_same_time_are_refused) {
  auto scenario = scenario_with(2, {});
  auto& first = scenario.method.front();
  first.lasts = Duration{4'000'000'000};
  auto second = first;
  second.name = "slower";
  second.place = {9, 5};
  scenario.method.push_back(second);
  const auto told = [&] {
    Diagnostics wrong{"drill.yaml"};
    const auto plan = make_plan(scenario, 1, wrong);
    std::vector<std::vector<std::string>> claims;
    for (auto& fault : plan.faults)
      claims.push_back({"packets of lo out", "packets of " + fault.host});
    check_claims(scenario, plan, claims, wrong);
    return wrong.render();
  };
  EXPECT_EQ(told(),
            "drill.yaml:9:1: error: step \"slower\" (network.delay) needs \"packets of lo out\" on db1, "
            "which step \"slow\" (network.delay) holds at the same time\n"
            "drill.yaml:9:1: error: step \"slower\" (network.delay) needs \"packets of lo out\" on db2, "
            "which step \"slow\" (network.delay) holds at the same time\n");
  scenario.method[1].at = Duration{3'999'000'000};
  EXPECT_NE(told(), "");
  scenario.method[1].at = Duration{4'000'000'000};
  EXPECT_EQ(told(), "") << "one begins when the other ends";
  scenario.method[1].at.reset();
  scenario.method[1].after = "slow";
  EXPECT_EQ(told(), "");
}

TEST(Planner, what_one_fault_does_in_one_step_is_told_where_two_cannot) {
  auto scenario = scenario_with(1, {});
  scenario.method.push_back(scenario.method.front());
  scenario.method[1].name = "lossy";
  const auto told = [&](const std::string& second) {
    scenario.method[1].fault = second;
    Diagnostics wrong{"drill.yaml"};
    check_claims(scenario, make_plan(scenario, 1, wrong), {{"packets of lo out"}, {"packets of lo out"}},
                 wrong);
    return wrong.render();
  };
  EXPECT_TRUE(
      told("network.loss").ends_with("holds at the same time; network.impair does both in one step\n"))
      << told("network.loss");
  EXPECT_TRUE(told("network.partition").ends_with("holds at the same time\n"));
}

TEST(Planner, steps_that_need_the_same_of_different_peers_go_together) {
  auto scenario = scenario_with(1, {});
  scenario.method.push_back(scenario.method.front());
  scenario.method[1].name = "slower";
  const auto told = [&](const std::string& peers) {
    Diagnostics wrong{"drill.yaml"};
    check_claims(scenario, make_plan(scenario, 1, wrong),
                 {{"tcp connections to port 6379 with 10.0.0.0/8"}, {"tcp connections to port 6379" + peers}},
                 wrong);
    return wrong.render();
  };
  EXPECT_EQ(told(" with 192.0.2.7"), "");
  EXPECT_NE(told(" with 192.0.2.7, 10.1.2.3")
                .find("needs \"tcp connections to port 6379 with 192.0.2.7, 10.1.2.3\", which overlaps \"tcp "
                      "connections to port 6379 with 10.0.0.0/8\" on db1, "
                      "which step \"slow\" (network.delay) holds at the same time"),
            std::string::npos);
  EXPECT_NE(told(""), "");
}

TEST(Planner, labels_narrow_the_choice) {
  Selector on;
  on.labels["rack"] = "even";
  Diagnostics wrong;
  const auto scenario = scenario_with(4, on);
  EXPECT_EQ(hosts_of(make_plan(scenario, 7, wrong)), (std::vector<std::string>{"db2", "db4"}));
}

TEST(Planner, the_same_seed_picks_the_same_hosts_and_another_seed_others) {
  Selector on;
  on.pick = 3;
  const auto scenario = scenario_with(40, on);
  Diagnostics wrong;
  EXPECT_EQ(hosts_of(make_plan(scenario, 7, wrong)), hosts_of(make_plan(scenario, 7, wrong)));
  EXPECT_NE(hosts_of(make_plan(scenario, 7, wrong)), hosts_of(make_plan(scenario, 8, wrong)));
  EXPECT_EQ(hosts_of(make_plan(scenario, 7, wrong)).size(), 3u);
}

TEST(Planner, every_host_is_picked_about_as_often_as_any_other) {
  Selector on;
  on.pick = 1;
  const auto scenario = scenario_with(4, on);
  std::map<std::string, int> picked;
  Diagnostics wrong;
  for (std::uint64_t seed = 0; seed < 4000; ++seed)
    ++picked[make_plan(scenario, seed, wrong).faults.at(0).host];
  for (auto& [host, times] : picked)
    EXPECT_NEAR(times, 1000, 120) << host;  // four standard deviations
}

TEST(Planner, more_hosts_than_the_blast_radius_are_refused) {
  auto scenario = scenario_with(3, {});
  scenario.blast_radius.hosts = 1;
  Diagnostics wrong;
  make_plan(scenario, 1, wrong);
  ASSERT_EQ(wrong.errors().size(), 1u);
  EXPECT_EQ(wrong.errors()[0].message, "the method touches 3 hosts, the blast radius allows 1");
  EXPECT_EQ(wrong.errors()[0].place.line, 7);
}

TEST(Planner, a_larger_share_than_the_blast_radius_is_refused) {
  Selector on;
  on.pick = 2;
  auto scenario = scenario_with(3, on);
  scenario.blast_radius.share = Percent{50};
  Diagnostics wrong;
  make_plan(scenario, 1, wrong);
  ASSERT_EQ(wrong.errors().size(), 1u);
  EXPECT_EQ(wrong.errors()[0].message,
            "the method touches 67% of the hosts (2 of 3), the blast radius allows 50%");
}

TEST(Planner, a_share_is_a_bound_and_rounds_down) {
  Selector on;
  on.share = Percent{50};
  Diagnostics wrong;
  const auto three = scenario_with(3, on);
  EXPECT_EQ(hosts_of(make_plan(three, 1, wrong)).size(), 1u);
  EXPECT_TRUE(wrong.ok()) << wrong.render();
  make_plan(scenario_with(1, on), 1, wrong);
  ASSERT_EQ(wrong.errors().size(), 1u);
  EXPECT_EQ(wrong.errors()[0].message, "step \"slow\" is to hit at most 50% of 1 host, which is none");
}

TEST(Planner, a_blast_radius_of_a_share_alone_is_no_bound_of_one_host) {
  auto scenario = scenario_with(4, {});
  scenario.blast_radius = {};
  scenario.blast_radius.share = Percent{100};
  Diagnostics wrong;
  EXPECT_EQ(hosts_of(make_plan(scenario, 1, wrong)).size(), 4u);
  EXPECT_TRUE(wrong.ok()) << wrong.render();
  scenario.blast_radius = {};
  make_plan(scenario, 1, wrong);
  EXPECT_EQ(wrong.errors().at(0).message, "the method touches 4 hosts, the blast radius allows 1");
}

TEST(Planner, more_hosts_to_pick_than_there_are_is_told) {
  Selector on;
  on.pick = 5;
  Diagnostics wrong;
  const auto scenario = scenario_with(4, on);
  EXPECT_EQ(
      make_plan(scenario, 1, wrong).notes,
      std::vector<std::string>{"step \"slow\" is to pick 5 hosts, and only 4 match: it hits all of them"});
}

TEST(Planner, a_step_without_the_target_that_its_fault_needs_is_refused) {
  auto scenario = scenario_with(1, {});
  scenario.method[0].fault = "process.kill";
  Diagnostics wrong;
  make_plan(scenario, 1, wrong);
  ASSERT_EQ(wrong.errors().size(), 1u);
  EXPECT_TRUE(
      wrong.errors()[0].message.starts_with("step \"slow\" has no target: process.kill needs a process"))
      << wrong.errors()[0].message;
}

TEST(Foresight, tells_too_few_probes_and_a_notification_without_a_witness) {
  auto scenario = scenario_with(1, {});
  scenario.method[0].lasts = Duration{10'000'000'000};
  ProbeSpec probe;
  probe.every = Duration{1'000'000'000};
  scenario.landscape.services["web"].probes.push_back(probe);
  scenario.landscape.alert_sources.push_back({AlertSourceSpec::Kind::alertmanager, "http://127.0.0.1:9093"});
  Expectation of_service, of_alert;
  of_service.service = "web";
  of_service.availability = Comparison<Percent>{Comparator::at_least, Percent{99}};
  of_alert.alert = "Slow";
  of_alert.reaches = "db";
  scenario.expect = {of_service, of_alert};
  const auto told = foresee(scenario);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0],
            "service web: availability >= 99% takes 100 probes to tell, and about 10 are due while the "
            "faults last: probe more often, or longer");
  EXPECT_TRUE(told[1].starts_with("alert Slow: that it reaches db is witnessed by a webhook only"))
      << told[1];
  scenario.landscape.services["web"].probes[0].every = Duration{50'000'000};
  EXPECT_EQ(foresee(scenario).size(), 1u);
}

TEST(Planner, every_host_gets_the_delays_of_a_file_themselves) {
  auto scenario = scenario_with(2, {});
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("squall-planner-{}", ::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream{folder / "rtt.txt"} << "12\n1.5s\n";
  scenario.method[0].with = Value::map({{"samples", {}, Value::scalar("rtt.txt")}});
  Diagnostics wrong;
  EXPECT_EQ(read_sample_files(scenario, folder, catalogue_vocabulary(), wrong), "");
  const auto plan = make_plan(scenario, 1, wrong);
  EXPECT_EQ(wrong.render(), "");
  ASSERT_EQ(plan.faults.size(), 2u);
  for (auto& fault : plan.faults)
    EXPECT_EQ(boost::json::serialize(fault_request("plan", fault).at("with")),
              R"({"samples":["12ms","1500ms"]})");
  std::filesystem::remove_all(folder);
}

TEST(Planner, a_service_lends_its_processes_and_the_hosts_it_runs_on) {
  Selector on;
  on.service = "playlist";
  auto scenario = scenario_with(2, on);
  scenario.landscape.services["playlist"].runs_on["rack"] = "even";
  scenario.landscape.services["playlist"].processes.listens_on = 8080;
  Diagnostics wrong;
  const auto plan = make_plan(scenario, 1, wrong);
  ASSERT_EQ(hosts_of(plan), (std::vector<std::string>{"db2"}));
  EXPECT_EQ(plan.faults[0].target.listens_on, 8080);
}

}  // namespace
}  // namespace squall
