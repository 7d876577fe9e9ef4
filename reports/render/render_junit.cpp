#include <map>

#include "reports/record/text.hpp"
#include "reports/render/markup.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

using markup::xml;

// xs:pattern [0-9]*(\.[0-9]*)? of junit-10.xsd: never an exponent, never below 0.
std::string junit_seconds(double s) {
  return fmt::format("{:.3f}", s > 0 ? s : 0.0);
}

// One suite, whose figures are known only once its cases are.
struct Suite {
  std::string name, class_name, cases;
  int tests = 0, failures = 0, errors = 0, skipped = 0;
  double seconds = 0;  // how long what the next cases judge was watched
  std::map<std::string, int> names;

  void add(const std::string& name_of_test, const std::string& body = "") {
    ++tests;
    // Of two cases of one name, GitLab shows one.
    const int again = ++names[name_of_test];
    const auto test = again == 1 ? name_of_test : fmt::format("{} ({})", name_of_test, again);
    cases += fmt::format("    <testcase name=\"{}\" classname=\"{}\" time=\"{}\"", xml(test), xml(class_name),
                         junit_seconds(seconds));
    cases += body.empty() ? "/>\n" : ">" + body + "</testcase>\n";
  }
  void fail(const std::string& test, const std::string& type, const std::string& why) {
    ++failures;
    add(test, fmt::format("<failure message=\"{}\" type=\"{}\">{}</failure>", xml(why), xml(type), xml(why)));
  }
  void error(const std::string& test, const std::string& type, const std::string& why) {
    ++errors;
    add(test, fmt::format("<error message=\"{}\" type=\"{}\">{}</error>", xml(why), xml(type), xml(why)));
  }
};

double seconds_between(std::int64_t from, std::int64_t to) {
  return static_cast<double>(to - from) / 1e9;
}

// Expectations are judged from the first fault to the end of what was watched.
void expectations(Suite& suite, const RunRecord& record, const Verdict& verdict) {
  const auto window = record.fault_window();
  suite.seconds = window ? seconds_between(window->start_t, record.last_t) : 0;
  for (auto& judged : verdict.expectations) {
    if (judged.outcome == Outcome::held)
      suite.add(judged.expectation, fmt::format("<system-out>{}</system-out>", xml(judged.evidence)));
    else if (judged.outcome == Outcome::violated)
      suite.fail(judged.expectation, "violated", judged.evidence);
    else
      suite.error(judged.expectation, "inconclusive", judged.evidence);
  }
}

void doses(Suite& suite, const RunRecord& record) {
  for (auto& fault : record.faults) {
    const auto test = fmt::format("fault {} on {} has its effect", fault.step, fault.host);
    const auto end = fault.end_t();
    suite.seconds = fault.applied_t && end ? seconds_between(*fault.applied_t, *end) : 0;
    if (!fault.failed.empty())
      suite.error(test, "not applied", fault.failed);
    else if (fault.dose && fault.dose->verified)
      suite.add(test, fmt::format("<system-out>{}</system-out>", xml(text::dose_summary(*fault.dose))));
    else
      suite.error(test, "inconclusive",
                  fault.dose && !fault.dose->reason.empty() ? fault.dose->reason : "no effect was measured");
  }
}

void restored(Suite& suite, const RunRecord& record, const Verdict& verdict) {
  if (record.faults.empty()) return;
  const std::string test = "everything is as found";
  suite.seconds = 0;
  if (!verdict.restored) return suite.error(test, "unknown", "the record does not tell");
  if (*verdict.restored) return suite.add(test);
  std::vector<std::string> what = verdict.differences;
  for (auto& left : verdict.left)
    what.push_back(fmt::format("{}: {} {}", left.host, left.detail, left.by_hand));
  suite.fail(test, "not restored", text::join(what, "; "));
}

}  // namespace

std::string render_junit(const RunRecord& record, const Verdict& verdict) {
  Suite suite{.name = record.scenario_name.empty() ? "drill" : record.scenario_name};
  suite.class_name = "squall." + suite.name;
  const bool ran = verdict.kind != Verdict::Kind::error && verdict.kind != Verdict::Kind::halted;
  if (!ran)
    suite.error("the drill runs to its end", std::string(to_string(verdict.kind)),
                verdict.headline + " " + text::join(verdict.reasons, "; "));
  expectations(suite, record, verdict);
  doses(suite, record);
  restored(suite, record, verdict);
  const auto took = junit_seconds(static_cast<double>(record.last_t) / 1e9);
  auto stamp = text::rfc3339(record.wall_start_ns);
  stamp.resize(std::string_view("2026-11-23T08:51:42").size());
  const auto figures =
      fmt::format("tests=\"{}\" failures=\"{}\" errors=\"{}\"", suite.tests, suite.failures, suite.errors);
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  out += fmt::format("<testsuites name=\"squall\" {} time=\"{}\">\n", figures, took);
  out += fmt::format(
      "  <testsuite name=\"{}\" {} skipped=\"{}\" time=\"{}\" timestamp=\"{}\" hostname=\"{}\">\n",
      xml(suite.name), figures, suite.skipped, took, stamp, xml(record.host));
  out += "    <properties>\n";
  for (auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"run", record.run},
                                                        {"verdict", std::string(to_string(verdict.kind))},
                                                        {"seed", std::to_string(record.seed)},
                                                        {"squad", record.squad}})
    out += fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, xml(value));
  out += "    </properties>\n" + suite.cases;
  if (!verdict.findings.empty())
    out += fmt::format("    <system-out>{}</system-out>\n", xml(text::join(verdict.findings, "\n")));
  out += "  </testsuite>\n</testsuites>\n";
  return out;
}

}  // namespace squall
