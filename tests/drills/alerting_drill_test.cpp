// Drills with a real Prometheus and a real Alertmanager: what their settings and their restarts make of an
// alert, and clocks that are not ours. A killed server raises the alert, half a second or so later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/monitoring.hpp"
#include "tests/support/shifted_clock.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

using testing::HasSubstr;

std::string rules(const std::string& wait = "1s", const std::string& more = "") {
  return fmt::format(
      "groups:\n  - name: web\n    rules:\n      - {{alert: WebDown, expr: 'up{{job=\"web\"}} == 0', for: "
      "{}, labels: {{squad: web}}}}\n{}",
      wait, more);
}

class Alerting : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  std::string targets() const { return "'" + victim.address() + "'"; }
  // A drill that kills the scraped server and expects the alert to be `wanted`.
  std::string scenario(const std::string& wanted, const std::string& sources,
                       const std::string& lasts = "5s") const {
    return kill_drill(victim.process->pid(), web.address(), "SIGKILL", lasts) + "  - {alert: WebDown, " +
           wanted + "}\n" + "alert_sources: [" + sources + "]\n";
  }
  std::string evidence() const {
    return std::string(squall.report().at("expectations").as_array().at(1).at("evidence").as_string());
  }
  std::string verdict() const {
    return std::string(squall.report().at("expectations").as_array().at(1).at("verdict").as_string());
  }

  Server victim = start_nginx("location / { return 200 ok; } location /metrics { return 200 \"x 1\\n\"; }");
  Server web = start_nginx("location / { return 200 ok; }");
  Squall squall;
};

TEST_F(Alerting, by_a_prometheus_three_seconds_behind_is_late_when_it_is_late) {
  Prometheus prometheus{targets(), rules("3s")};
  const ShiftedClock ahead{3};  // ours is ahead of its
  squall.program = ahead.script(bin_dir() + "/squall");
  squall.drill(scenario("fires_within: 2s", "{prometheus: \"" + prometheus.url() + "\"}", "7s"));
  EXPECT_EQ(verdict(), "violated") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("late: fired "));
  EXPECT_THAT(squall.output(), HasSubstr("is 3.0 s behind"));
}

TEST_F(Alerting, is_timed_right_though_our_own_clock_steps_by_an_hour) {
  Prometheus prometheus{targets(), rules("2s")};
  ShiftedClock clock{0};
  squall.program = clock.script(bin_dir() + "/squall");
  squall.start_drill(scenario("fires_within: 20s", "{prometheus: \"" + prometheus.url() + "\"}", "7s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied"));
  clock.set(-3600);
  squall.wait();
  EXPECT_EQ(verdict(), "held") << squall.output();
  EXPECT_THAT(squall.output(), HasSubstr("this machine's clock was set back"));
}

TEST_F(Alerting, of_a_prometheus_without_rules_could_not_have_been_told) {
  Prometheus prometheus{targets(), "groups: []"};
  auto text = kill_drill(victim.process->pid(), web.address()) +
              "  - {other_alerts: none}\nalert_sources: [{prometheus: \"" + prometheus.url() + "\"}]\n";
  squall.drill(text);
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("it has no alerting rules"));
}

TEST_F(Alerting, of_a_webhook_that_nobody_posts_to_could_not_have_been_told) {
  auto text = kill_drill(victim.process->pid(), web.address()) +
              fmt::format("  - {{other_alerts: none}}\nalert_sources: [{{webhook: \"127.0.0.1:{}\"}}]\n",
                          free_port());
  squall.drill(text);
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("nothing was ever posted to it"));
}

TEST_F(Alerting, that_was_pending_before_the_fault_is_not_caught_by_it) {
  Prometheus prometheus{"'127.0.0.1:1'", rules("6s")};  // down before the drill
  squall.start_drill(scenario("fires_within: 20s", "{prometheus: \"" + prometheus.url() + "\"}", "9s"));
  squall.wait();
  // Pending or firing, as its first scrape went: caught by the fault it is not.
  EXPECT_NE(verdict(), "held") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("before"));
}

TEST_F(Alerting, survives_a_restart_of_prometheus_as_one_alert) {
  Prometheus prometheus{targets(), rules("1s")};
  squall.start_drill(scenario("fires_within: 20s", "{prometheus: \"" + prometheus.url() + "\"}", "12s"));
  ASSERT_TRUE(squall.wait_for_record("\"state\":\"firing\""));
  prometheus.restart();
  squall.wait();
  const auto record = squall.record();
  EXPECT_THAT(record, HasSubstr("\"kind\":\"alert.restart\""));
  EXPECT_EQ(record.find("\"state\":\"resolved\""), std::string::npos) << "it has been down all along";
  EXPECT_EQ(record.find("\"state\":\"firing\""), record.rfind("\"state\":\"firing\""));
  EXPECT_EQ(verdict(), "held") << squall.output();
}

// With an Alertmanager between the rule and our webhook.
class Managed : public Alerting {
 protected:
  // `route` goes into the top route, `more` below it.
  void start(const std::string& route, const std::string& more = "", const std::string& hook = "",
             const std::string& alerting = "", const std::string& extra_rules = "",
             const std::string& external = "") {
    hook_port = free_port();
    alertmanager = std::make_unique<Alertmanager>(
        fmt::format("route: {{receiver: web, group_by: [squad], {}}}\n{}receivers:\n  - name: web\n    "
                    "webhook_configs: [{{url: \"http://127.0.0.1:{}/\", {}}}]\n",
                    route, more, hook_port, hook));
    prometheus = std::make_unique<Prometheus>(
        targets() + down_before, rules("1s", extra_rules),
        fmt::format("alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]{}",
                    alertmanager->server->address(), alerting),
        external);
  }
  std::string sources(bool webhook = true) const {
    return fmt::format("{{prometheus: \"{}\"}}, {{alertmanager: \"{}\"}}{}", prometheus->url(),
                       alertmanager->url(),
                       webhook ? fmt::format(", {{webhook: \"127.0.0.1:{}\"}}", hook_port) : "");
  }
  int hook_port = 0;
  std::string down_before;
  std::unique_ptr<Alertmanager> alertmanager;
  std::unique_ptr<Prometheus> prometheus;
};

const std::string at_once = "group_wait: 0s, group_interval: 1s";

TEST_F(Managed, alert_reaches_its_squad) {
  start(at_once);
  squall.drill(scenario("fires_within: 20s, reaches: web", sources()));
  EXPECT_EQ(verdict(), "held") << squall.output();
}

TEST_F(Managed, alert_is_told_by_its_routing_where_no_webhook_is) {
  start(at_once);
  squall.drill(scenario("fires_within: 20s, reaches: web", sources(false)));
  EXPECT_EQ(verdict(), "held") << squall.output();
  EXPECT_THAT(evidence(),
              HasSubstr("routed to web by Alertmanager (whether it was delivered only a webhook can see)"));
}

TEST_F(Managed, alert_on_a_muted_route_is_muted) {
  start(at_once, "", "", "", "");
  alertmanager.reset();
  prometheus.reset();
  alertmanager = std::make_unique<Alertmanager>(
      fmt::format("route:\n  receiver: nobody\n  group_wait: 0s\n  routes: [{{receiver: web, matchers: "
                  "['squad=\"web\"'], mute_time_intervals: [always]}}]\n"
                  "time_intervals: [{{name: always, time_intervals: [{{times: [{{start_time: '00:00', "
                  "end_time: '24:00'}}]}}]}}]\n"
                  "receivers:\n  - name: nobody\n  - name: web\n    webhook_configs: [{{url: "
                  "\"http://127.0.0.1:{}/\"}}]\n",
                  hook_port));
  prometheus =
      std::make_unique<Prometheus>(targets(), rules(),
                                   fmt::format("alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]",
                                               alertmanager->server->address()));
  const auto text = scenario("fires_within: 20s, reaches: web", sources());
  squall.drill(text);
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("muted by the time interval always of its route to web"));
  EXPECT_THAT(squall.output(), HasSubstr("WebDown is muted now"));
}

TEST_F(Managed, alert_of_a_group_that_waits_is_told_with_what_it_waits_for) {
  start("group_wait: 40s, group_interval: 50s");
  squall.drill(scenario("fires_within: 20s, reaches: web", sources()));
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("told of after 40.0 s at the earliest (group_wait of the route to web)"));
}

TEST_F(Managed, alert_of_a_group_that_was_told_before_waits_for_its_interval) {
  start("group_wait: 0s, group_interval: 50s", "", "", "",
        "      - {alert: Always, expr: 'vector(1)', labels: {squad: web}}\n");
  std::this_thread::sleep_for(std::chrono::seconds{2});  // so that the group is open
  squall.drill(scenario("fires_within: 20s, reaches: web", sources()));
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("its group was told of before"));
}

TEST_F(Managed, alert_that_a_notification_left_out_is_not_said_to_reach_nobody) {
  hook_port = free_port();
  down_before = ", '127.0.0.1:1'";  // another alert of the group, before ours in its order
  start(at_once, "", "max_alerts: 1");
  squall.drill(
      scenario(fmt::format("labels: {{instance: \"{}\"}}, fires_within: 20s, reaches: web", victim.address()),
               sources()));
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("left out one alert (max_alerts)")) << squall.output();
}

TEST_F(Managed, alert_that_is_renamed_on_its_way_stays_one) {
  start(at_once, "", "",
        ", alert_relabel_configs: [{source_labels: [squad], target_label: team}, {regex: squad, action: "
        "labeldrop}]",
        "", "squad: sre");
  squall.drill(scenario("labels: {squad: web}, fires_within: 20s, reaches: web", sources()));
  EXPECT_EQ(verdict(), "held") << squall.output();
  EXPECT_EQ(squall.report().at("alerts").as_array().size(), 1U) << squall.output();
}

TEST_F(Managed, alert_that_is_inhibited_is_not_called_silenced) {
  start(at_once,
        "inhibit_rules: [{source_matchers: ['alertname=\"Always\"'], target_matchers: "
        "['alertname=\"WebDown\"']}]\n",
        "", "", "      - {alert: Always, expr: 'vector(1)', labels: {squad: web}}\n");
  squall.drill(scenario("fires_within: 20s, reaches: web", sources()));
  EXPECT_THAT(evidence(), HasSubstr("another alert (Always) inhibited it")) << squall.output();
}

TEST_F(Managed, alert_survives_a_restart_of_alertmanager) {
  start(at_once);
  squall.start_drill(scenario("fires_within: 20s, resolves_within: 1s",
                              fmt::format("{{alertmanager: \"{}\"}}", alertmanager->url()), "6s"));
  ASSERT_TRUE(squall.wait_for_record("\"state\":\"firing\""));
  alertmanager->restart();
  squall.wait();
  EXPECT_EQ(squall.record().find("\"state\":\"resolved\""), std::string::npos);
  EXPECT_EQ(verdict(), "inconclusive") << squall.output();
  EXPECT_THAT(evidence(), HasSubstr("began anew"));
}

// The injector's clock is 3 s behind ours.
TEST_F(Alerting, a_host_whose_clock_is_behind_moves_no_fault) {
  const ShiftedClock behind{-3};
  squall.injector = behind.script(bin_dir() + "/squall-injector");
  squall.drill(fmt::format(R"(scenario: refused
title: A port is refused
squad: web
hypothesis: users notice at once
baseline: {{for: 4s}}
recovery: {{for: 3s}}
squads: {{web: {{}}}}
services:
  web: {{squad: web, probes: [{{tcp: "{}", every: 50ms, timeout: 1s}}]}}
method:
  - {{name: refuse, fault: network.refuse, on: {{listens_on: {}}}, for: 4s}}
expect:
  - {{service: web, recovers_within: 1s}}
  - {{service: web, availability: ">= 50%"}}
)",
                           web.address(), web.process->port()));
  EXPECT_EQ(verdict(), "violated") << squall.output();
  EXPECT_THAT(squall.output(), HasSubstr("the clock of host here is 3.0 s behind"));
}

}  // namespace
}  // namespace squall::test
