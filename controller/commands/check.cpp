#include <chrono>
#include <cstdio>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "controller/alerts/lookout.hpp"
#include "controller/commands/input.hpp"
#include "controller/planner.hpp"
#include "controller/vocabulary.hpp"
#include "injector/fault.hpp"
#include "scenarios/warnings.hpp"

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
  pretty(out, which == "landscape" ? landscape_json_schema() : scenario_json_schema(catalogue_vocabulary()), 0);
  fmt::print("{}\n", out);
  return exit_pass;
}

// A landscape file says no `scenario:`; it is checked as what it is.
bool is_landscape(const std::string& text) {
  Diagnostics ignored;
  const auto document = parse_document(text, ignored);
  return document.kind == Value::Kind::map && !document.find("scenario") && !document.find("method") &&
         (document.find("services") || document.find("hosts") || document.find("squads") ||
          document.find("alert_sources") || document.find("environment"));
}

std::string check_file(const std::string& file, const std::string& landscape, std::vector<std::string>& notes) {
  Diagnostics unreadable{file};
  const auto text = read_text_file(file, unreadable);
  if (!unreadable.ok()) return unreadable.render();
  if (is_landscape(text)) {
    Diagnostics wrong{file, text};
    read_landscape(text, wrong);
    return wrong.render();
  }
  auto read = read_files(file, landscape);
  if (!read.ok) return read.errors;
  Diagnostics wrong{file, text};
  make_plan(read.scenario, read.scenario.seed.value_or(1), wrong);
  notes = witnesses(read.scenario);
  const auto warned = warnings(read.scenario);
  notes.insert(notes.end(), warned.begin(), warned.end());
  return wrong.render();
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
  for (auto& file : arguments.files) {
    std::vector<std::string> notes;
    const auto errors = check_file(file, arguments.landscape, notes);
    if (!errors.empty()) code = exit_input;
    if (arguments.json())
      results.push_back(boost::json::object{{"file", file}, {"ok", errors.empty()}, {"errors", errors}, {"warnings", boost::json::value_from(notes)}});
    else if (errors.empty())
      fmt::print("{}: ok\n", file);
    else
      fmt::print(stderr, "{}", errors);
    if (!arguments.json() && errors.empty())
      for (auto& note : notes) fmt::print("  note: {}\n", note);
  }
  if (arguments.json()) fmt::print("{}\n", boost::json::serialize(results));
  return code;
}

}  // namespace squall
