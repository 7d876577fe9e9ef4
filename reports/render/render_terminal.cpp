#include <algorithm>

#include "reports/record/text.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

constexpr std::size_t least_width = 40;
constexpr std::size_t most_rows = 6;  // of anything that can be long

constexpr std::string_view bold = "1", dim = "2", red = "31", green = "32", yellow = "33";

class Story {
 public:
  Story(const RunRecord& record, const Verdict& verdict, bool color, std::size_t columns)
      : record_(record), verdict_(verdict), color_(color), width_(std::max(columns, least_width)) {}

  std::string tell() {
    headline();
    faults();
    services();
    alerts();
    expectations();
    findings();
    restored();
    return std::move(out_);
  }

 private:
  std::string styled(std::string_view style, std::string_view text) const {
    return color_ ? fmt::format("\033[{}m{}\033[0m", style, text) : std::string(text);
  }
  void line(std::string_view text, std::string_view style = "") {
    const auto cut = text::cut(text, width_);
    out_ += style.empty() ? cut : styled(style, cut);
    out_ += '\n';
  }
  void heading(std::string_view text) { line(text, bold); }
  // A mark in its colour, then the text; what does not fit goes on below it, indented.
  void marked(std::string_view mark, std::string_view style, std::string_view text) {
    out_ += fmt::format("  {} ", styled(style, mark));
    const std::size_t room = width_ - 4;
    bool first = true;
    while (!text.empty()) {
      auto part = text::columns(text) <= room ? std::string(text) : text::cut(text, room);
      std::size_t used = text.size();
      if (part.size() < text.size() || text::columns(text) > room) {
        part.resize(part.size() - std::string_view("…").size());
        if (auto space = part.rfind(' '); space != std::string::npos && space > room / 2) part.resize(space);
        used = part.size();
      }
      out_ += fmt::format("{}{}\n", first ? "" : "    ", part);
      first = false;
      text.remove_prefix(used);
      if (auto start = text.find_first_not_of(' '); start != std::string_view::npos)
        text.remove_prefix(start);
      else
        text = {};
    }
    if (first) out_ += '\n';
  }

  void headline() {
    static const std::map<Verdict::Kind, std::pair<std::string_view, std::string_view>> looks{
        {Verdict::Kind::pass, {"PASS", "1;32"}},
        {Verdict::Kind::fail, {"FAIL", "1;31"}},
        {Verdict::Kind::inconclusive, {"INCONCLUSIVE", "1;33"}},
        {Verdict::Kind::halted, {"HALTED", "1;35"}},
        {Verdict::Kind::error, {"COULD NOT RUN", "1;31"}}};
    const auto& [word, style] = looks.at(verdict_.kind);
    line(fmt::format("{}{}", record_.scenario_name, record_.title.empty() ? "" : ": " + record_.title), bold);
    out_ +=
        fmt::format("{} {}\n", styled(style, word), text::cut(verdict_.headline, width_ - word.size() - 1));
    const bool told_below =
        verdict_.kind == Verdict::Kind::fail || (verdict_.kind == Verdict::Kind::inconclusive &&
                                                 verdict_.headline.find("expectation") != std::string::npos);
    if (told_below) return;
    for (std::size_t i = 0; i < verdict_.reasons.size() && i < most_rows; ++i)
      marked("→", style, verdict_.reasons[i]);
  }

  void faults() {
    if (record_.faults.empty()) return;
    heading("What was done");
    for (auto& fault : record_.faults) {
      const bool proven = fault.dose && fault.dose->verified;
      std::string text = fmt::format("{} on {}", fault.fault, fault.host);
      if (!fault.targets.empty()) text += fmt::format(", {}", fault.targets.front());
      if (fault.targets.size() > 1) text += fmt::format(" and {} more", fault.targets.size() - 1);
      if (fault.applied_t && fault.undone_t && fault.lasting)
        text += fmt::format(", for {}",
                            text::seconds(static_cast<double>(*fault.undone_t - *fault.applied_t) / 1e9));
      if (!fault.failed.empty())
        text += ": " + fault.failed;
      else if (fault.dose)
        text += fmt::format(": {} ({} samples)", text::dose_summary(*fault.dose),
                            text::count(static_cast<std::int64_t>(fault.dose->samples)));
      marked(proven ? "✓" : "?", proven ? green : yellow, text);
    }
  }

  void services() {
    if (verdict_.services.empty()) return;
    heading("How users fared");
    std::size_t longest = 7;
    for (auto& service : verdict_.services)
      for (auto& probe : service.probes)
        longest = std::max(longest, text::columns(name_of(service, probe)));
    longest = std::min<std::size_t>(longest, 24);
    if (width_ >= row_width(longest))
      line(fmt::format("  {:<{}}  {:>19}  {:>19}  {:>19}  {}", "", longest, "before", "during", "after",
                       "recovery"),
           dim);
    for (auto& service : verdict_.services)
      for (auto& probe : service.probes)
        users(service, probe, longest);
  }

  static std::size_t row_width(std::size_t name) { return 2 + name + 3 * (2 + 19); }

  void users(const ServiceVerdict& service, const ProbeVerdict& probe, std::size_t longest) {
    auto cell = [&](const char* window) {
      auto found = probe.windows.find(window);
      if (found == probe.windows.end()) return std::string("–");
      auto& seen = found->second;
      if (!seen.probes) return std::string("not asked");
      return fmt::format("{} p99 {}", text::percent(seen.availability),
                         seen.latency ? text::milliseconds(seen.latency->p99_ms) : "–");
    };
    auto padded = [](const std::string& text, std::size_t to) {
      return std::string(to - std::min(to, text::columns(text)), ' ') + text;
    };
    const auto name = text::cut(name_of(service, probe), longest);
    if (width_ < row_width(longest)) {  // no room for columns
      line(fmt::format("  {}", name), bold);
      for (auto [word, window] :
           {std::pair{"before", "baseline"}, std::pair{"during", "fault"}, std::pair{"after", "recovery"}})
        line(fmt::format("    {:<7} {}", word, cell(window)));
      if (!probe.recovered.empty()) marked("→", dim, probe.recovered);
    } else {
      auto row =
          fmt::format("  {}{}  {}  {}  {}", name, std::string(longest - text::columns(name), ' '),
                      padded(cell("baseline"), 19), padded(cell("fault"), 19), padded(cell("recovery"), 19));
      const bool fits = text::columns(row) + 2 + text::columns(probe.recovered) <= width_;
      line(fits ? fmt::format("{}  {}", row, probe.recovered) : row);
      if (!fits) marked("→", dim, probe.recovered);
    }
    // Said where it is not what a new user would meet.
    if (auto how = describe_connections(probe); !how.empty() && kept(service.service, probe.probe))
      line(fmt::format("    {}", how), dim);
  }

  bool kept(const std::string& service, const std::string& probe) const {
    auto found = record_.scenario.landscape.services.find(service);
    if (found == record_.scenario.landscape.services.end()) return false;
    return std::any_of(found->second.probes.begin(), found->second.probes.end(), [&](auto& spec) {
      return spec.name == probe && spec.connection == ProbeSpec::Connection::kept;
    });
  }

  void alerts() {
    if (verdict_.alerts.empty()) return;
    heading("Alerts");
    std::size_t shown = 0;
    for (auto& alert : verdict_.alerts) {
      if (++shown > most_rows && !alert.expected) continue;
      const bool good = alert.outcome == AlertOutcome::caught || alert.outcome == AlertOutcome::other;
      const bool unclear = alert.outcome == AlertOutcome::unseen ||
                           (alert.outcome == AlertOutcome::preexisting && (!alert.expected || alert.fired));
      const auto squad = alert.labels.find("squad");
      marked(good      ? "✓"
             : unclear ? "?"
                       : "✗",
             good      ? green
             : unclear ? yellow
                       : red,
             fmt::format("{}{}, {}: {}", alert.alert,
                         squad == alert.labels.end() ? "" : fmt::format(" ({})", squad->second),
                         to_string(alert.outcome), alert.text));
    }
    if (shown > most_rows) line(fmt::format("    {} alerts in all", shown), dim);
  }

  void expectations() {
    if (verdict_.expectations.empty()) return;
    heading("What was expected");
    for (auto& judged : verdict_.expectations) {
      const bool held = judged.outcome == Outcome::held, violated = judged.outcome == Outcome::violated;
      // An alert's evidence already stands above.
      const bool said = judged.expectation.starts_with("alert ");
      marked(held       ? "✓"
             : violated ? "✗"
                        : "?",
             held       ? green
             : violated ? red
                        : yellow,
             said ? judged.expectation : fmt::format("{}: {}", judged.expectation, judged.evidence));
    }
  }

  void findings() {
    if (verdict_.findings.empty()) return;
    heading("Worth knowing");
    for (std::size_t i = 0; i < verdict_.findings.size() && i < most_rows; ++i)
      marked("!", yellow, verdict_.findings[i]);
  }

  void restored() {
    if (record_.faults.empty()) return;
    if (!verdict_.restored)
      return line("The record does not tell whether the hosts are as found: run \"squall status\" on them.",
                  yellow);
    if (*verdict_.restored) return line("Everything is as found.", green);
    line("NOT everything is as found:", "1;31");
    for (auto& left : verdict_.left)
      marked("✗", red,
             fmt::format("{}: {}{}", left.host, left.detail,
                         left.by_hand.empty() ? "" : "; by hand: " + left.by_hand));
    for (auto& difference : verdict_.differences)
      marked("✗", red, difference);
    for (auto& step : verdict_.next_steps)
      marked("→", yellow, step);
  }

  const RunRecord& record_;
  const Verdict& verdict_;
  bool color_;
  std::size_t width_;
  std::string out_;
};

}  // namespace

std::string render_terminal(const RunRecord& record, const Verdict& verdict, bool color, std::size_t width) {
  return Story{record, verdict, color, width}.tell();
}

}  // namespace squall
