#include "tests/support/monitoring.hpp"

#include <fmt/format.h>

namespace squall::test {

Prometheus::Prometheus(const std::string& targets, const std::string& rules, const std::string& alerting, const std::string& external_labels) {
  const auto config = files.write("prometheus.yml", fmt::format(R"(
global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms, external_labels: {{{}}}}}
rule_files: [rules.yml]
alerting: {{{}}}
scrape_configs:
  - {{job_name: web, static_configs: [{{targets: [{}]}}]}}
)", external_labels, alerting, targets));
  files.write("rules.yml", rules);
  start_.port = free_port();
  start_.command = {"/usr/bin/prometheus", "--config.file=" + config.string(), "--storage.tsdb.path=" + (files.path() / "data").string(),
                    fmt::format("--web.listen-address=127.0.0.1:{}", start_.port), "--log.level=warn"};
  server = std::make_unique<ServerProcess>(start_);
}

void Prometheus::restart() {
  server.reset();
  server = std::make_unique<ServerProcess>(start_);
}

Alertmanager::Alertmanager(const std::string& config) {
  start_.port = free_port();
  start_.command = {"/usr/bin/prometheus-alertmanager", "--config.file=" + files.write("alertmanager.yml", config).string(),
                    "--storage.path=" + (files.path() / "data").string(), fmt::format("--web.listen-address=127.0.0.1:{}", start_.port),
                    "--cluster.listen-address=", "--log.level=warn"};
  server = std::make_unique<ServerProcess>(start_);
}

void Alertmanager::restart() {
  server.reset();
  server = std::make_unique<ServerProcess>(start_);
}

}  // namespace squall::test
