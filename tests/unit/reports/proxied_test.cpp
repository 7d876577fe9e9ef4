// A tcp probe of a port that a fault's proxy holds is answered by the proxy: its word is no word of the
// service.
#include "reports/record/proxied.hpp"

#include <gtest/gtest.h>

#include "reports/judge/verdict.hpp"

namespace squall {
namespace {

constexpr std::int64_t second = 1'000'000'000;

// A service with a tcp probe, one with an http probe and one elsewhere; a fault from 10 s to 20 s with these
// keys.
RunRecord made(const std::string& fault, const std::string& on, bool service = false) {
  RunRecord out;
  auto& services = out.scenario.landscape.services;
  services["port"].processes.listens_on = 8080;
  services["port"].probes.push_back(
      {.kind = ProbeSpec::Kind::tcp, .name = "tcp", .object = "127.0.0.1:8080"});
  services["port"].probes.push_back({.name = "http", .object = "http://127.0.0.1:8080/"});
  services["other"].probes.push_back(
      {.kind = ProbeSpec::Kind::tcp, .name = "tcp", .object = "127.0.0.1:9090"});
  Step step;
  step.name = "slow";
  step.fault = fault;
  if (service)
    step.on.service = on;
  else if (!on.empty())
    step.on.target.listens_on = static_cast<std::uint16_t>(std::stoi(on));
  out.scenario.method.push_back(step);
  FaultRecord applied;
  applied.step = "slow";
  applied.fault = fault;
  applied.applied_t = 10 * second;
  applied.undone_t = 20 * second;
  out.faults.push_back(applied);
  for (auto& [name, spec] : services)
    for (auto& probe : spec.probes) {
      ProbeSeries series{name, probe.name, {}};
      for (int i = 0; i < 30; ++i)
        series.samples.push_back(
            {.due_ns = i * second, .latency_ns = second / 1000, .ok = true, .error = ""});
      out.probes.push_back(series);
    }
  out.last_t = 30 * second;
  mark_proxied_handshakes(out);
  return out;
}

std::ptrdiff_t unseen(const RunRecord& record, const std::string& service, const std::string& probe) {
  for (auto& series : record.probes)
    if (series.service == service && series.probe == probe)
      return std::count_if(series.samples.begin(), series.samples.end(),
                           [](auto& sample) { return sample.unseen; });
  return -1;
}

TEST(Proxied, tcp_answers_of_its_port_say_nothing_while_it_is_in_force) {
  for (const std::string fault : {"tcp.latency", "http.abort"}) {
    const auto record = made(fault, "8080");
    EXPECT_EQ(unseen(record, "port", "tcp"), 11) << "10 s to 20 s";
    EXPECT_EQ(unseen(record, "port", "http"), 0);
    EXPECT_EQ(unseen(record, "other", "tcp"), 0);
  }
  EXPECT_EQ(unseen(made("tcp.latency", "port", true), "port", "tcp"), 11);
  EXPECT_EQ(unseen(made("tcp.latency", "9999"), "port", "tcp"), 0);
  EXPECT_EQ(unseen(made("tcp.latency", ""), "other", "tcp"), 11) << "all that this host makes";
  EXPECT_EQ(unseen(made("network.delay", "8080"), "port", "tcp"), 0);
}

}  // namespace
}  // namespace squall
