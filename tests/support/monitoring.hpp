// Debian's Prometheus and Alertmanager, each on a free port with files of its own.
#pragma once

#include <string>

#include "tests/support/servers.hpp"

namespace squall::test {

// `rules` is the content of a rule file; it scrapes `targets` ("127.0.0.1:8080") twice a second as job "web",
// and evaluates as often. `alerting` goes below "alerting:" ("alertmanagers: …"). Started again on the same
// port and the same data with `again`.
struct Prometheus {
  Prometheus(const std::string& targets, const std::string& rules, const std::string& alerting = "",
             const std::string& external_labels = "");
  void restart();
  std::string url() const { return "http://" + server->address(); }
  TemporaryDirectory files;
  std::unique_ptr<ServerProcess> server;

 private:
  ServerProcess::Start start_;
};

struct Alertmanager {
  explicit Alertmanager(const std::string& config);
  void restart();
  std::string url() const { return "http://" + server->address(); }
  TemporaryDirectory files;
  std::unique_ptr<ServerProcess> server;

 private:
  ServerProcess::Start start_;
};

}  // namespace squall::test
