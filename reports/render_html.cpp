#include "reports/html/page.hpp"
#include "reports/html/sections.hpp"
#include "reports/markup.hpp"
#include "reports/render.hpp"

namespace squall {

std::string render_html(const RunRecord& record, const Verdict& verdict) {
  const auto title = fmt::format("{}: {}", to_string(verdict.kind), record.title.empty() ? record.scenario_name : record.title);
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", page_policy);
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n";
  out += fmt::format("<title>{}</title>\n<style>{}</style>\n</head>\n", markup::xml(title), page_style);
  out += fmt::format("<body class=\"{}\">\n", to_string(verdict.kind)) + html::header(record, verdict) + "<main>\n";
  out += html::glance(record, verdict) + html::timeline(record, verdict) + html::expectations(verdict) + html::faults(record) + html::services(record, verdict) +
         html::alerts(verdict) + html::findings(verdict) + html::restored(record, verdict) + html::background(record);
  out += fmt::format("</main>\n<footer>Made by squall {} from the record of run {}.</footer>\n<script>{}</script>\n</body>\n</html>\n", markup::xml(record.version),
                     markup::xml(record.run), page_script);
  return out;
}

}  // namespace squall
