#include "reports/markup.hpp"
#include "reports/render.hpp"
#include "reports/text.hpp"

namespace squall {

using markup::xml;

std::string render_html(const RunRecord& record, const Verdict& verdict) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + xml(record.scenario_name) + "</title></head><body>\n";
  out += fmt::format("<h1>{}: {}</h1><p>{}</p><ul>\n", xml(record.scenario_name), to_string(verdict.kind), xml(verdict.headline));
  for (auto& judged : verdict.expectations)
    out += fmt::format("<li>{}: {} ({})</li>\n", to_string(judged.outcome), xml(judged.expectation), xml(judged.evidence));
  return out + "</ul></body></html>\n";
}

}  // namespace squall
