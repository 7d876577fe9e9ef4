#include <algorithm>
#include <set>

#include "reports/judge/differences.hpp"
#include "reports/record/text.hpp"
#include "reports/render/markup.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

using markup::markdown;

// A table whose columns line up, so that it reads on a terminal as it does in a browser.
class Table {
 public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() < 2; }
  std::string text() const {
    std::vector<std::size_t> widths(rows_.front().size(), 3);
    for (auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i)
        widths[i] = std::max(widths[i], text::columns(row[i]));
    std::string out;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      for (std::size_t i = 0; i < widths.size(); ++i)
        out += "| " + rows_[r][i] + std::string(widths[i] - text::columns(rows_[r][i]) + 1, ' ');
      out += "|\n";
      if (r) continue;
      for (auto width : widths)
        out += "|" + std::string(width + 2, '-');
      out += "|\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

struct Side {
  const RunRecord& record;
  const Verdict& verdict;
};

std::string expectation_of(const Side& side, const std::string& name) {
  for (auto& judged : side.verdict.expectations)
    if (judged.expectation == name)
      return fmt::format("{}: {}", to_string(judged.outcome), markdown(judged.evidence));
  return "–";
}

std::string dose_of(const Side& side, const std::string& key) {
  for (auto& fault : side.record.faults)
    if (fault.step + " on " + fault.host == key) {
      if (!fault.dose) return "not measured";
      return fmt::format("{}{}", markdown(text::dose_summary(*fault.dose)),
                         fault.dose->verified ? "" : " (not verified)");
    }
  return "–";
}

const ServiceVerdict* service_of(const Side& side, const std::string& name) {
  for (auto& service : side.verdict.services)
    if (service.service == name) return &service;
  return nullptr;
}

std::string figures_of(const Side& side, const std::string& name, const std::string& window) {
  auto* service = service_of(side, name);
  if (!service || !service->windows.contains(window)) return "–";
  auto& seen = service->windows.at(window);
  if (!seen.probes) return "not asked";
  return fmt::format("{}, p50 {}, p99 {}", text::percent(seen.availability),
                     seen.latency ? text::milliseconds(seen.latency->p50_ms) : "–",
                     seen.latency ? text::milliseconds(seen.latency->p99_ms) : "–");
}

std::string alert_key(const AlertVerdict& alert) {
  return alert.alert + " " + text::labels(alert.labels, "alertname");
}

std::string alert_of(const Side& side, const std::string& key) {
  for (auto& alert : side.verdict.alerts)
    if (alert_key(alert) == key)
      return fmt::format("{}{}", to_string(alert.outcome),
                         alert.fired_after_s ? " after " + text::seconds(*alert.fired_after_s) : "");
  return "–";
}

// The union of both sides' keys, those of the first in its order.
template <class Each>
std::vector<std::string> keys(const Side& a, const Side& b, const Each& each) {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (auto* side : {&a, &b})
    each(*side, [&](const std::string& key) {
      if (seen.insert(key).second) out.push_back(key);
    });
  return out;
}

template <class Keys, class Cell>
void section(std::string& out, std::string_view title, const Side& a, const Side& b, const Keys& each,
             const Cell& cell) {
  Table table{{std::string(title), "first", "second"}};
  for (auto& key : keys(a, b, each))
    table.add({markdown(key), cell(a, key), cell(b, key)});
  if (!table.empty()) out += "\n" + table.text();
}

Table overview(const Side& a, const Side& b) {
  Table table{{"run", "first", "second"}};
  auto row = [&](std::string name, auto cell) { table.add({std::move(name), cell(a), cell(b)}); };
  row("name", [](const Side& s) { return markdown(s.record.run); });
  row("scenario", [](const Side& s) { return markdown(s.record.scenario_name); });
  row("when", [](const Side& s) { return text::rfc3339(s.record.wall_start_ns); });
  row("seed", [](const Side& s) { return std::to_string(s.record.seed); });
  row("verdict", [](const Side& s) { return std::string(to_string(s.verdict.kind)); });
  row("why", [](const Side& s) { return markdown(s.verdict.headline); });
  row("detected on average after", [](const Side& s) {
    return s.verdict.score.mean_detection_s ? text::seconds(*s.verdict.score.mean_detection_s) : "–";
  });
  row("as found",
      [](const Side& s) { return s.verdict.restored ? *s.verdict.restored ? "yes" : "NO" : "not known"; });
  return table;
}

}  // namespace

std::string render_comparison(const RunRecord& record_a, const Verdict& verdict_a, const RunRecord& record_b,
                              const Verdict& verdict_b) {
  const Side a{record_a, verdict_a}, b{record_b, verdict_b};
  std::string out = "# Two runs compared\n\n";
  for (auto& difference : differences_between(record_a, verdict_a, record_b, verdict_b))
    out += fmt::format("- {}\n", markdown(difference));
  out += "\n" + overview(a, b).text();
  section(
      out, "dose", a, b,
      [](const Side& s, auto add) {
        for (auto& fault : s.record.faults)
          add(fault.step + " on " + fault.host);
      },
      dose_of);
  section(
      out, "expectation", a, b,
      [](const Side& s, auto add) {
        for (auto& judged : s.verdict.expectations)
          add(judged.expectation);
      },
      expectation_of);
  auto services = [](const Side& s, auto add) {
    for (auto& service : s.verdict.services)
      add(service.service);
  };
  for (auto* window : {"baseline", "fault", "recovery"})
    section(out, fmt::format("service, {}", window), a, b, services,
            [&](const Side& s, const std::string& name) { return figures_of(s, name, window); });
  section(out, "service, back", a, b, services, [](const Side& s, const std::string& name) {
    auto* service = service_of(s, name);
    return service ? service->recovery.empty() ? std::string("–") : service->recovery : std::string("–");
  });
  section(
      out, "alert", a, b,
      [](const Side& s, auto add) {
        for (auto& alert : s.verdict.alerts)
          add(alert_key(alert));
      },
      alert_of);
  return out;
}

}  // namespace squall
