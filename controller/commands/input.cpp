#include "controller/commands/input.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include <unistd.h>

#include "controller/plan/vocabulary.hpp"
#include "scenarios/model/samples.hpp"

namespace squall {
namespace {

std::string beside(const std::string& file) {
  auto path = std::filesystem::path(file).parent_path() / "landscape.yaml";
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) ? path.string() : "";
}

bool is_list(const ObjectSchema& schema, std::string_view key) {
  const auto fields = schema.fields();
  return std::any_of(fields.begin(), fields.end(), [&](auto& field) {
    return field.name == key && field.type.starts_with("list of ") && !field.type.ends_with("a line");
  });
}

// A list where it comes again or begins with a duration and a comma, else the name of a file.
bool is_list_of_samples(const ObjectSchema& schema, std::string_view key,
                        const std::vector<std::string>& arguments) {
  const auto fields = schema.fields();
  if (std::none_of(fields.begin(), fields.end(),
                   [&](auto& field) { return field.name == key && field.type == Codec<Samples>::name(); }))
    return false;
  int times = 0;
  bool parted = false;
  for (auto& argument : arguments) {
    if (!argument.starts_with(fmt::format("{}=", key))) continue;
    ++times;
    const auto value = argument.substr(key.size() + 1);
    const auto comma = value.find(',');
    parted = parted || (comma != std::string::npos && parse_duration(value.substr(0, comma)));
  }
  return times > 1 || parted;
}

bool is_mapping(const ObjectSchema& schema, std::string_view key) {
  const auto fields = schema.fields();
  return std::any_of(fields.begin(), fields.end(),
                     [&](auto& field) { return field.name == key && field.type == "mapping"; });
}

bool holds_commas(std::string_view key) {
  return key == "header" || key == "set";
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value && *value;
}

}  // namespace

ReadScenario read_files(const std::string& file, const std::string& landscape) {
  ReadScenario out;
  Landscape base;
  const auto landscape_file = landscape.empty() ? beside(file) : landscape;
  if (!landscape_file.empty()) {
    Diagnostics unreadable{landscape_file};
    out.landscape_text = read_text_file(landscape_file, unreadable);
    Diagnostics wrong{landscape_file, out.landscape_text};
    if (unreadable.ok()) base = read_landscape(out.landscape_text, wrong);
    out.errors += unreadable.render() + wrong.render();
    out.files.push_back(landscape_file);
  }
  Diagnostics unreadable{file};
  out.scenario_text = read_text_file(file, unreadable);
  Diagnostics wrong{file, out.scenario_text};
  const auto folder = std::filesystem::path(file).parent_path();
  std::string of_samples;
  if (unreadable.ok()) {
    out.scenario = read_scenario(out.scenario_text, base, catalogue_vocabulary(), wrong);
    of_samples = read_sample_files(out.scenario, folder, catalogue_vocabulary(), wrong);
  }
  out.errors += unreadable.render() + wrong.render() + of_samples;
  out.files.push_back(file);
  for (auto& step : out.scenario.method)
    if (step.samples) out.files.push_back(folder / step.samples->file);
  out.ok = out.errors.empty();
  return out;
}

std::uint64_t seed_of(const Arguments& arguments, const Scenario& scenario) {
  return arguments.seed ? *arguments.seed : scenario.seed.value_or(1);
}

bool is_landscape(const std::string& text) {
  Diagnostics ignored;
  const auto document = parse_document(text, ignored);
  return document.kind == Value::Kind::map && !document.find("scenario") && !document.find("method") &&
         (document.find("services") || document.find("hosts") || document.find("squads") ||
          document.find("alert_sources") || document.find("environment"));
}

ExpandedFiles expand_files(const std::vector<std::string>& files, bool landscapes) {
  namespace fs = std::filesystem;
  ExpandedFiles out;
  std::error_code error;
  for (auto& file : files) {
    if (!fs::is_directory(file, error)) {
      out.paths.push_back(file);
      continue;
    }
    std::vector<std::string> found;
    for (auto entry =
             fs::recursive_directory_iterator(file, fs::directory_options::skip_permission_denied, error);
         !error && entry != fs::recursive_directory_iterator{}; entry.increment(error)) {
      const auto kind = entry->path().extension();
      if ((kind != ".yaml" && kind != ".yml") || !entry->is_regular_file(error)) continue;
      Diagnostics unreadable{entry->path().string()};
      const auto text = read_text_file(entry->path().string(), unreadable);
      Diagnostics ignored;
      const auto document = parse_document(text, ignored);
      if (document.find("scenario") || document.find("method") || (landscapes && is_landscape(text)))
        found.push_back(entry->path().string());
    }
    if (found.empty()) out.error = fmt::format("the folder \"{}\" has no scenario in it", file);
    std::sort(found.begin(), found.end());
    out.paths.insert(out.paths.end(), found.begin(), found.end());
  }
  return out;
}

ChosenHost choose_host(const Arguments& arguments) {
  ChosenHost out;
  if (arguments.host.empty()) {
    out.ok = true;
    return out;
  }
  const auto file = arguments.landscape.empty() ? std::string("landscape.yaml") : arguments.landscape;
  Diagnostics unreadable{file};
  const auto text = read_text_file(file, unreadable);
  Diagnostics wrong{file, text};
  Landscape landscape;
  if (unreadable.ok()) landscape = read_landscape(text, wrong);
  out.error = unreadable.render() + wrong.render();
  if (!out.error.empty()) return out;
  auto found = landscape.hosts.find(arguments.host);
  if (found == landscape.hosts.end()) {
    std::vector<std::string> names;
    for (auto& [name, host] : landscape.hosts)
      names.push_back(name);
    const auto close = nearest(arguments.host, names);
    out.error = fmt::format("{}: error: no host is called \"{}\"{}\n", file, arguments.host,
                            close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close));
    return out;
  }
  out.ok = true;
  out.name = found->first;
  out.spec = found->second;
  return out;
}

ChosenHosts choose_hosts(const Arguments& arguments) {
  ChosenHosts out;
  if (!arguments.host.empty() || (!arguments.all && arguments.landscape.empty())) {
    auto one = choose_host(arguments);
    out.error = one.error;
    out.of_landscape = !arguments.host.empty();
    out.hosts.push_back(std::move(one));
    return out;
  }
  const auto file = arguments.landscape.empty() ? std::string("landscape.yaml") : arguments.landscape;
  Diagnostics unreadable{file};
  const auto text = read_text_file(file, unreadable);
  Diagnostics wrong{file, text};
  Landscape landscape;
  if (unreadable.ok()) landscape = read_landscape(text, wrong);
  out.error = unreadable.render() + wrong.render();
  out.of_landscape = !landscape.hosts.empty();
  for (auto& [name, spec] : landscape.hosts)
    out.hosts.push_back({true, "", name, spec});
  if (out.hosts.empty()) out.hosts.push_back({true, "", "here", {}});
  return out;
}

Value parameters_of(const std::vector<std::string>& arguments, const ObjectSchema& schema,
                    Diagnostics& diagnostics) {
  std::vector<std::string> single;
  std::vector<Member> lists;
  std::map<std::string, std::vector<std::string>> mappings;
  for (auto& argument : arguments) {
    const auto at = argument.find('=');
    const auto key = argument.substr(0, at);
    if (const auto dot = key.find('.');
        at != std::string::npos && dot != std::string::npos && is_mapping(schema, key.substr(0, dot))) {
      mappings[key.substr(0, dot)].push_back(argument.substr(dot + 1));
      continue;
    }
    if (at == std::string::npos || (!is_list(schema, key) && !is_list_of_samples(schema, key, arguments))) {
      single.push_back(argument);
      continue;
    }
    auto found = std::find_if(lists.begin(), lists.end(), [&](auto& one) { return one.key == key; });
    if (found == lists.end()) {
      found = lists.insert(lists.end(), {key, {}, {}});
      found->value.kind = Value::Kind::list;
    }
    auto rest = std::string_view(argument).substr(at + 1);
    for (auto comma = rest.find(','); comma != std::string_view::npos && !holds_commas(key);
         comma = rest.find(',')) {
      found->value.items.push_back(Value::scalar(std::string(rest.substr(0, comma))));
      rest.remove_prefix(comma + 1);
    }
    found->value.items.push_back(Value::scalar(std::string(rest)));
  }
  auto out = from_arguments(single, diagnostics);
  for (auto& list : lists) {
    if (list.value.items.size() == 1) list.value = list.value.items.front();
    out.members.push_back(std::move(list));
  }
  for (auto& [key, inner] : mappings)
    out.members.push_back({key, {}, from_arguments(inner, diagnostics)});
  return out;
}

bool wants_color(const Arguments& arguments, int fd) {
  if (arguments.color == "always") return true;
  if (arguments.color == "never" || is_set("NO_COLOR")) return false;
  if (is_set("CLICOLOR_FORCE")) return true;
  const char* term = std::getenv("TERM");
  return ::isatty(fd) && term && std::string_view(term) != "dumb";
}

void complain(const std::string& text) {
  const auto line = fmt::format("squall: error: {}\n", text);
  std::fputs(line.c_str(), stderr);  // throws nothing where nobody reads any more
}

}  // namespace squall
