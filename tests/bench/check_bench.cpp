// How long `squall check` takes for a scenario of 1,000 lines, from start to end of the process, beside a
// process that does nothing.
#include <cstdio>
#include <stdexcept>

#include "tests/support/paths.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using Clock = std::chrono::steady_clock;

// Services, steps and expectations in equal parts, until there are as many lines.
std::string scenario(std::size_t lines) {
  std::string services, steps, expectations;
  std::size_t count = 9;
  for (int i = 0; count + 12 <= lines; ++i, count += 12) {
    services += fmt::format(R"(  service-{0}:
    squad: web
    probes:
      - {{http: "http://127.0.0.1:8080/{0}", every: 100ms, timeout: 1s, status: 200}}
    slo: {{availability: 99.5%, latency_p99: 250ms}}
)",
                            i);
    steps += fmt::format(R"(  - name: delay-{0}
    fault: network.delay
    on: {{interface: lo}}
    with: {{delay: 80ms, jitter: 5ms, port: [{1}]}}
    for: 10s
)",
                         i, 1024 + i);
    expectations += fmt::format(
        "  - {{service: service-{0}, availability: \">= 99%\", latency_p99: \"<= 400ms\"}}\n"
        "  - {{alert: Slow{0}, labels: {{squad: web}}, fires_within: 60s, reaches: web}}\n",
        i);
  }
  return "scenario: long\ntitle: A long drill\nsquad: web\nhypothesis: it is read quickly\nbaseline: {for: "
         "5s}\n"
         "squads: {web: {}}\nalert_sources:\n  - {prometheus: \"http://127.0.0.1:9090\"}\n  - {webhook: "
         "\"127.0.0.1:9099\"}\nservices:\n" +
         services + "method:\n" + steps + "expect:\n" + expectations;
}

double median_ms(const std::vector<std::string>& command, int times) {
  std::vector<double> took;
  for (int i = 0; i < times; ++i) {
    const auto start = Clock::now();
    test::run(command);
    took.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(took.begin(), took.end());
  return took[took.size() / 2];
}

}  // namespace
}  // namespace squall

int main() {
  const auto text = squall::scenario(1000);
  const squall::test::TemporaryDirectory folder;
  const auto file = folder.write("long.yaml", text);
  const double nothing = squall::median_ms({"true"}, 50);
  const double check = squall::median_ms({squall::test::bin_dir() + "/squall", "check", file.string()}, 50);
  std::printf("squall check, %ld lines: %.1f ms (median of 50); a process that does nothing: %.1f ms\n",
              std::count(text.begin(), text.end(), '\n'), check, nothing);
}
