#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/alerts/lookout.hpp"
#include "controller/alerts/rules.hpp"
#include "controller/commands/input.hpp"
#include "controller/plan/foresight.hpp"
#include "controller/plan/planner.hpp"
#include "controller/plan/vocabulary.hpp"
#include "injector/faults/fault.hpp"
#include "scenarios/model/warnings.hpp"

namespace squall {
namespace {

// Two spaces a level, members in their own order: what people diff and editors load.
void pretty(std::string& out, const boost::json::value& value, std::size_t level) {
  const std::string indent(2 * level, ' ');
  if (value.is_object() && !value.get_object().empty()) {
    out += "{\n";
    std::size_t left = value.get_object().size();
    for (auto& [key, member] : value.get_object()) {
      out += indent + "  " + boost::json::serialize(boost::json::value(key)) + ": ";
      pretty(out, member, level + 1);
      out += --left ? ",\n" : "\n";
    }
    out += indent + "}";
  } else if (value.is_array() && !value.get_array().empty()) {
    out += "[\n";
    std::size_t left = value.get_array().size();
    for (auto& item : value.get_array()) {
      out += indent + "  ";
      pretty(out, item, level + 1);
      out += --left ? ",\n" : "\n";
    }
    out += indent + "]";
  } else {
    out += boost::json::serialize(value);
  }
}

int print_schema(const std::string& which) {
  std::string out;
  pretty(out, which == "landscape" ? landscape_json_schema() : scenario_json_schema(catalogue_vocabulary()),
         0);
  fmt::print("{}\n", out);
  return exit_pass;
}

struct Checked {
  std::string errors;
  std::vector<std::string> notes;  // nothing wrong, but worth a thought before the run
};

// What the alert sources know of what is expected; `errors` too, where they know no such alert.
void check_live(const Scenario& scenario, const std::string& file, Checked& out) {
  const auto known = ask_for_rules(scenario.landscape.alert_sources);
  for (auto& problem : known.problems)
    out.errors += fmt::format("{}: error: {}\n", file, problem);
  if (!known.problems.empty()) return;
  for (auto& text : findings(scenario, known.rules)) {
    if (text.starts_with("no rule"))
      out.errors += fmt::format("{}: error: {}\n", file, text);
    else
      out.notes.push_back(text);
  }
}

Checked check_file(const std::string& file, const std::string& landscape, bool live) {
  Diagnostics unreadable{file};
  const auto text = read_text_file(file, unreadable);
  if (!unreadable.ok()) return {unreadable.render(), {}};
  if (is_landscape(text)) {
    Diagnostics wrong{file, text};
    read_landscape(text, wrong);
    return {wrong.render(), {}};
  }
  auto read = read_files(file, landscape);
  if (!read.ok) return {read.errors, {}};
  Diagnostics wrong{file, text};
  Checked out;
  out.notes = make_plan(read.scenario, seed_of({}, read.scenario), wrong).notes;
  out.errors = wrong.render();
  for (auto& more : {witnesses(read.scenario), warnings(read.scenario), foresee(read.scenario)})
    out.notes.insert(out.notes.end(), more.begin(), more.end());
  if (live && wrong.ok()) check_live(read.scenario, file, out);
  return out;
}

}  // namespace

int check_command(const Arguments& arguments) {
  if (!arguments.schema.empty()) return print_schema(arguments.schema);
  if (arguments.files.empty()) {
    complain("expected a FILE to check, got none");
    return exit_input;
  }
  int code = exit_pass;
  boost::json::array results;
  const auto files = expand_files(arguments.files, true);
  if (!files.error.empty()) {
    complain(files.error);
    return exit_input;
  }
  for (auto& file : files.paths) {
    const auto [errors, notes] = check_file(file, arguments.landscape, arguments.live);
    if (!errors.empty()) code = exit_input;
    if (arguments.json())
      results.push_back(boost::json::object{{"file", file},
                                            {"ok", errors.empty()},
                                            {"errors", errors},
                                            {"notes", boost::json::value_from(notes)}});
    else if (errors.empty())
      fmt::print("{}: ok\n", file);
    else
      fmt::print(stderr, "{}", errors);
    for (auto& note : notes)
      if (!arguments.json()) fmt::print("  note: {}\n", note);
  }
  if (arguments.json()) fmt::print("{}\n", boost::json::serialize(results));
  return code;
}

}  // namespace squall
