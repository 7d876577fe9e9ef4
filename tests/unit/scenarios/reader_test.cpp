#include "scenarios/model/reader.hpp"

#include <gtest/gtest.h>

#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace {

constexpr auto landscape_text = R"(environment: staging
hosts:
  db1: {link: ssh, address: ops@db1.staging, labels: {role: storage, rack: a1}}
  here: {link: local, labels: {role: edge}}
squads:
  storage: {on_call: "#storage-oncall", runbooks: https://wiki/storage}
  playlists: {}
services:
  storage: {squad: storage, runs_on: {role: storage}, processes: {unit: storage.service}}
  playlist:
    squad: playlists
    depends_on: [storage]
    runs_on: {role: edge}
    processes: {listens_on: 8080}
    probes:
      - {http: "http://user:secret@127.0.0.1:8080/healthz?token=1", every: 100ms, timeout: 1s, status: 200}
      - {process: true}
    slo: {availability: 99.9%, latency_p99: 250ms}
alert_sources:
  - {prometheus: "http://127.0.0.1:9090"}
  - {alertmanager: "http://127.0.0.1:9093"}
  - {webhook: "127.0.0.1:9099"}
)";

constexpr auto scenario_text = R"(scenario: raid-battery-failure
title: The RAID controller's battery dies and writes go straight to the platters
squad: storage
blast_radius: {hosts: 1, share: 50%}
baseline: {for: 5s}
method:
  - name: battery-dies
    fault: disk.throttle
    on: {service: storage, pick: 1, path: /var/lib/storage}
    with: {write_rate: 1MiB/s}
    at: 0s
    for: 60s
  - fault: process.kill
    on: {host: here, exe: nginx}
    after: battery-dies
expect:
  - {service: playlist, availability: ">= 99%", latency_p99: "<= 400ms"}
  - {service: playlist, recovers_within: 10s}
  - {alert: StorageWritesSlow, labels: {squad: storage}, fires_within: 30s, resolves_within: 60s, reaches: storage}
  - {other_alerts: none}
halt_when:
  - {service: playlist, availability: "< 90%", latency_p99: "> 2s"}
services:
  playlist: {slo: {availability: 99%}}
seed: 18446744073709551615
)";

Landscape landscape() {
  Diagnostics diagnostics{"landscape.yaml", landscape_text};
  auto landscape = read_landscape(landscape_text, diagnostics);
  EXPECT_EQ(diagnostics.render(), "");
  return landscape;
}

Scenario scenario() {
  Diagnostics diagnostics{"scenario.yaml", scenario_text};
  auto scenario = read_scenario(scenario_text, landscape(), test::small_vocabulary(), diagnostics);
  EXPECT_EQ(diagnostics.render(), "");
  return scenario;
}

TEST(Reader, reads_a_landscape) {
  const auto there = landscape();
  EXPECT_EQ(there.environment, "staging");
  EXPECT_EQ(there.hosts.at("db1").link, HostSpec::Link::ssh);
  EXPECT_EQ(there.hosts.at("db1").labels.at("rack"), "a1");
  const auto& playlist = there.services.at("playlist");
  EXPECT_EQ(playlist.depends_on, std::vector<std::string>{"storage"});
  EXPECT_EQ(playlist.processes.to_string(), "listens_on=8080");
  EXPECT_EQ(playlist.probes.at(0).every, Duration{100'000'000});
  EXPECT_EQ(playlist.probes.at(0).status, std::vector<int>{200});
  EXPECT_EQ(playlist.slo.latency_p99, Duration{250'000'000});
  EXPECT_EQ(there.alert_sources.at(2).kind, AlertSourceSpec::Kind::webhook);
  EXPECT_EQ(there.alert_sources.at(2).address, "127.0.0.1:9099");
}

TEST(Reader, a_probe_is_named_after_its_object_without_its_secrets) {
  EXPECT_EQ(landscape().services.at("playlist").probes.at(0).name, "http 127.0.0.1:8080/healthz");
}

TEST(Reader, process_true_leaves_the_target_to_the_service) {
  const auto probe = landscape().services.at("playlist").probes.at(1);
  EXPECT_EQ(probe.kind, ProbeSpec::Kind::process);
  EXPECT_TRUE(probe.process.empty());
}

TEST(Reader, reads_a_scenario) {
  const auto drill = scenario();
  EXPECT_EQ(drill.name, "raid-battery-failure");
  EXPECT_EQ(drill.blast_radius.share, Percent{50});
  EXPECT_EQ(drill.baseline.lasts, Duration{5'000'000'000});
  EXPECT_EQ(drill.recovery.lasts, Duration{30'000'000'000});
  EXPECT_EQ(drill.seed, 18446744073709551615U);
  ASSERT_EQ(drill.method.size(), 2U);
  EXPECT_EQ(drill.method[0].on.service, "storage");
  EXPECT_EQ(drill.method[0].on.target.path, "/var/lib/storage");
  EXPECT_EQ(drill.method[0].with.find("write_rate")->text, "1MiB/s");
  EXPECT_EQ(drill.method[0].place, (Place{7, 5}));
  EXPECT_EQ(drill.method[0].fault_place, (Place{8, 12}));
  EXPECT_EQ(drill.method[1].name, "process.kill");
  EXPECT_EQ(drill.method[1].with.kind, Value::Kind::map);
  EXPECT_EQ(drill.method[1].lasts, std::nullopt);
}

TEST(Reader, a_scenarios_own_sections_are_merged_over_the_landscapes) {
  const auto playlist = scenario().landscape.services.at("playlist");
  EXPECT_EQ(playlist.slo.availability, Percent{99});
  EXPECT_EQ(playlist.slo.latency_p99, Duration{250'000'000});
  EXPECT_EQ(playlist.probes.size(), 2U);
  EXPECT_EQ(playlist.squad, "playlists");
}

TEST(Reader, expectations_read_as_reports_print_them) {
  const auto drill = scenario();
  EXPECT_EQ(describe(drill.expect.at(0)),
            (std::vector<std::string>{"service playlist: availability >= 99%",
                                      "service playlist: p99 latency <= 400ms"}));
  EXPECT_EQ(describe(drill.expect.at(1)), std::vector<std::string>{"service playlist recovers within 10s"});
  EXPECT_EQ(describe(drill.expect.at(2)),
            std::vector<std::string>{"alert StorageWritesSlow{squad=\"storage\"} fires within 30s, reaches "
                                     "storage and resolves within 1m"});
  EXPECT_EQ(
      describe(Expectation{.alert = "Slow", .fires_within = Duration{1'000'000'000}, .reaches = "edge"}),
      std::vector<std::string>{"alert Slow fires within 1s and reaches edge"});
  EXPECT_EQ(describe(Expectation{.alert = "Slow"}), std::vector<std::string>{"alert Slow fires"});
  EXPECT_EQ(describe(drill.expect.at(3)), std::vector<std::string>{"no other alert fires"});
  EXPECT_EQ(describe(drill.halt_when.at(0)),
            "service playlist: availability < 90% or p99 latency > 2s over 5s");
}

}  // namespace
}  // namespace squall
