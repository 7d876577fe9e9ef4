#include "reports/html/page.hpp"
#include "reports/html/sections.hpp"
#include "reports/render/markup.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

// "here" is where squall ran: whoever was not there needs its name.
struct Named {
  RunRecord record;
  Verdict verdict;
};

Named by_name(RunRecord record, Verdict verdict) {
  auto name = [&, here = record.host](std::string& host) {
    if (host == "here" && !here.empty()) host = here;
  };
  if (record.scenario.landscape.hosts.contains("here")) return {std::move(record), std::move(verdict)};
  for (auto& fault : record.faults)
    name(fault.host);
  for (auto& step : record.plan)
    name(step.host);
  for (auto& host : record.restored)
    name(host.host);
  for (auto& left : verdict.left)
    name(left.host);
  for (auto& difference : verdict.differences)
    if (difference.starts_with("here: ") && !record.host.empty()) difference.replace(0, 4, record.host);
  return {std::move(record), std::move(verdict)};
}

}  // namespace

std::string render_html(const RunRecord& told, const Verdict& judged) {
  const auto [record, verdict] = by_name(told, judged);
  const auto title = fmt::format("{}: {}", to_string(verdict.kind),
                                 record.title.empty() ? record.scenario_name : record.title);
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", page_policy);
  out +=
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" "
      "content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n";
  out += fmt::format("<title>{}</title>\n<style>{}</style>\n</head>\n", markup::xml(title), page_style);
  out += fmt::format("<body class=\"{}\">\n", to_string(verdict.kind)) + html::header(record, verdict) +
         "<main>\n";
  out += html::glance(record, verdict) + html::timeline(record, verdict) + html::expectations(verdict) +
         html::faults(record) + html::services(record, verdict) + html::alerts(verdict) +
         html::findings(verdict) + html::restored(record, verdict) + html::background(record);
  out += fmt::format(
      "</main>\n<footer>Made by squall {} from the record of run "
      "{}.</footer>\n<script>{}</script>\n</body>\n</html>\n",
      markup::xml(record.version), markup::xml(record.run), page_script);
  return out;
}

}  // namespace squall
