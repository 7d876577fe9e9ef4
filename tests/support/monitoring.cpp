#include "tests/support/monitoring.hpp"

#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace squall::test {
namespace {

std::string get(std::uint16_t port, const std::string& path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  const auto request = fmt::format("GET {} HTTP/1.0\r\n\r\n", path);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
    char part[4096];
    for (ssize_t size = 0; (size = ::recv(fd, part, sizeof part, 0)) > 0;)
      answer.append(part, static_cast<std::size_t>(size));
  }
  ::close(fd);
  return answer;
}

// Prometheus looks for its targets and Alertmanagers only five seconds after it began.
void wait_until(std::uint16_t port, const std::string& path, const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{40};
  while (get(port, path).find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error(fmt::format("{} does not say {} in 40 s", path, text));
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  }
}

}  // namespace

Prometheus::Prometheus(const std::string& targets, const std::string& rules, const std::string& alerting,
                       const std::string& external_labels) {
  const auto config = files.write("prometheus.yml", fmt::format(R"(
global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms, external_labels: {{{}}}}}
rule_files: [rules.yml]
alerting: {{{}}}
scrape_configs:
  - {{job_name: web, static_configs: [{{targets: [{}]}}]}}
)",
                                                                external_labels, alerting, targets));
  files.write("rules.yml", rules);
  start_.port = free_port();
  start_.command = {"/usr/bin/prometheus",
                    "--config.file=" + config.string(),
                    "--storage.tsdb.path=" + (files.path() / "data").string(),
                    fmt::format("--web.listen-address=127.0.0.1:{}", start_.port),
                    "--rules.alert.resend-delay=1s",
                    "--log.level=warn"};
  server = std::make_unique<ServerProcess>(start_);
  wait_until(start_.port, "/api/v1/query?query=up", "\"instance\"");
  if (!alerting.empty()) wait_until(start_.port, "/api/v1/alertmanagers", "/api/v2/alerts");
}

void Prometheus::restart() {
  server.reset();
  server = std::make_unique<ServerProcess>(start_);
}

Alertmanager::Alertmanager(const std::string& config) {
  start_.port = free_port();
  start_.command = {"/usr/bin/prometheus-alertmanager",
                    "--config.file=" + files.write("alertmanager.yml", config).string(),
                    "--storage.path=" + (files.path() / "data").string(),
                    fmt::format("--web.listen-address=127.0.0.1:{}", start_.port),
                    "--cluster.listen-address=",
                    "--log.level=warn"};
  server = std::make_unique<ServerProcess>(start_);
}

void Alertmanager::restart() {
  server.reset();
  server = std::make_unique<ServerProcess>(start_);
}

}  // namespace squall::test
