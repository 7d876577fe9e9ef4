// The account of a run, one renderer a format. Pure functions of the record and its verdict.
#pragma once

#include <string>

#include "reports/judge/verdict.hpp"
#include "reports/record/record.hpp"

namespace squall {

// report.json, schema "squall.report/1".
std::string render_json(const RunRecord&, const Verdict&);
// JUnit XML as Jenkins' junit-10.xsd and GitLab take it: a test case for each expectation, the dose and the
// restored state.
std::string render_junit(const RunRecord&, const Verdict&);
std::string render_markdown(const RunRecord&, const Verdict&);
// One file that opens offline: no request leaves it, and it reads well without its script.
std::string render_html(const RunRecord&, const Verdict&);
// The story in about twenty lines, none longer than `width` columns (40 at least).
std::string render_terminal(const RunRecord&, const Verdict&, bool color = false, std::size_t width = 100);

// Two runs side by side, as Markdown that reads well on a terminal too.
std::string render_comparison(const RunRecord& a, const Verdict&, const RunRecord& b, const Verdict&);

}  // namespace squall
