#include "controller/serve/firing.hpp"

#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/alerts/parse.hpp"

namespace squall::serve {
namespace {

namespace json = boost::json;
using Kind = AlertSourceSpec::Kind;

// {"data": {"alerts": [{"labels": {"alertname": …}, "state": "firing"}]}}
void take_prometheus(const std::string& body, Firing& out) {
  const auto answer = json::parse(body);
  for (auto& alert : answer.at("data").at("alerts").as_array())
    if (alert.at("state").as_string() == "firing")
      out.alerts.emplace(alert.at("labels").at("alertname").as_string());
}

void take_alertmanager(const std::string& body, Firing& out) {
  const auto alerts = parse_managed_alerts(body);
  if (!alerts) throw std::runtime_error(alerts.error());
  for (auto& alert : *alerts)
    if (const auto name = alert.labels.find("alertname"); name != alert.labels.end() && !alert.suppressed)
      out.alerts.insert(name->second);
}

void take(const AlertSourceSpec& source, const http::Answer& answer, Firing& out) {
  std::string problem;
  if (!answer.ok)
    problem = answer.error;
  else if (answer.status != 200)
    problem = fmt::format("status {}", answer.status);
  else
    try {
      source.kind == Kind::prometheus ? take_prometheus(answer.body, out)
                                      : take_alertmanager(answer.body, out);
    } catch (const std::exception& e) {
      problem = fmt::format("its answer is not understood: {}", e.what());
    }
  if (!problem.empty() && out.problem.empty())
    out.problem = fmt::format("{} {} cannot be asked: {}", enum_text(source.kind), source.address, problem);
}

http::Request request_to(const AlertSourceSpec& source) {
  http::Request out;
  out.url =
      source.address + (source.kind == Kind::prometheus ? "/api/v1/alerts" : "/api/v2/alerts?active=true");
  out.verify_tls = source.verify_tls;
  out.certificate = source.access.certificate;
  out.key = source.access.key;
  out.ca = source.access.ca;
  out.largest_answer = 16 << 20;
  out.headers = source.access.header_lines();
  return out;
}

}  // namespace

void ask_firing(http::Client& client, const std::vector<AlertSourceSpec>& sources,
                std::function<void(Firing)> told) {
  struct Round {
    Firing found;
    std::function<void(Firing)> told;
    ~Round() { told(std::move(found)); }  // when the last answer has let go of it
  };
  auto round = std::make_shared<Round>();
  round->told = std::move(told);
  for (auto& source : sources) {
    if (source.kind == Kind::webhook) continue;
    try {
      client.get(request_to(source),
                 [round, source](const http::Answer& answer) { take(source, answer, round->found); });
    } catch (const std::invalid_argument& missing) {
      round->found.problem = missing.what();
    }
  }
}

}  // namespace squall::serve
