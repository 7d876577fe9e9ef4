#include "controller/serve/folder.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "controller/plan/planner.hpp"
#include "controller/plan/vocabulary.hpp"
#include "controller/serve/rights/secret.hpp"
#include "scenarios/model/reader.hpp"
#include "scenarios/text/text.hpp"

namespace squall {
namespace serve {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t most_files = 10'000;

std::vector<std::string> yaml_files(const fs::path& root) {
  std::vector<std::string> out;
  std::error_code error;
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied, error);
  for (; !error && entry != fs::recursive_directory_iterator{} && out.size() < most_files;
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    std::error_code ignored;
    if (name.starts_with(".") && entry->is_directory(ignored)) {
      entry.disable_recursion_pending();
      continue;
    }
    const auto kind = entry->path().extension();
    if ((kind == ".yaml" || kind == ".yml") && entry->is_regular_file(ignored))
      out.push_back(fs::relative(entry->path(), root, ignored).string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// What a scenario says of services, hosts and squads is its own word; owners are the landscape's.
Touched touched_by(const Scenario& scenario, const Value& document, const Landscape& landscape) {
  Touched out;
  std::set<std::string> services, squads;
  auto beyond = [&](const std::string& why) {
    if (out.beyond.empty()) out.beyond = why;
  };
  for (auto* key : {"services", "hosts", "squads"})
    if (document.find(key)) beyond(fmt::format("it declares {} of its own", key));
  for (auto& step : scenario.method) {
    const auto name = step.on.service.value_or("");
    if (name.empty()) {
      beyond(fmt::format("its step {} is aimed at no service", step.name));
      continue;
    }
    services.insert(name);
    if (!step.on.target.empty())
      beyond(fmt::format("its step {} is aimed at more than a service", step.name));
    const auto known = landscape.services.find(name);
    if (known == landscape.services.end() || known->second.squad.empty())
      beyond(fmt::format("the service {} is no squad's", name));
    else
      squads.insert(known->second.squad);
  }
  out.services.assign(services.begin(), services.end());
  out.squads.assign(squads.begin(), squads.end());
  return out;
}

bool runs_commands(const Scenario& scenario) {
  for (auto& [name, service] : scenario.landscape.services)
    for (auto& probe : service.probes)
      if (probe.kind == ProbeSpec::Kind::command) return true;
  return false;
}

class Reader {
 public:
  Reader(const std::string& path, bool allow_commands) : root_(path), allow_commands_(allow_commands) {}

  Folder read() {
    read_landscape_file();
    one("schedules.yaml", [&](auto text, auto& wrong) { out_.schedules = read_schedules(text, wrong); });
    one("people.yaml", [&](auto text, auto& wrong) { out_.people = read_people(text, wrong); });
    for (auto& path : yaml_files(root_)) {
      if (path == "landscape.yaml" || path == "schedules.yaml" || path == "people.yaml") continue;
      if (path.starts_with("gamedays/"))
        read_game_day(path);
      else
        read_drill(path);
    }
    check_references();
    return std::move(out_);
  }

 private:
  // Reads a file that may not be there.
  void one(const std::string& path, const auto& read) {
    std::error_code missing;
    if (!fs::exists(root_ / path, missing)) return;
    Diagnostics unreadable{path};
    const auto text = read_text_file((root_ / path).string(), unreadable);
    Diagnostics wrong{path, text};
    if (unreadable.ok()) read(text, wrong);
    complain(path, unreadable.render() + wrong.render());
  }

  void complain(const std::string& path, const std::string& errors) {
    if (!errors.empty()) out_.broken.push_back({path, errors});
  }

  void read_landscape_file() {
    std::error_code missing;
    if (!fs::exists(root_ / "landscape.yaml", missing)) {
      out_.landscape_ok = true;
      return;
    }
    const auto before = out_.broken.size();
    one("landscape.yaml", [&](auto text, auto& wrong) {
      out_.landscape_text = text;
      out_.landscape = read_landscape(text, wrong);
    });
    out_.landscape_ok = out_.broken.size() == before;
  }

  void read_drill(const std::string& path) {
    Diagnostics unreadable{path};
    const auto text = read_text_file((root_ / path).string(), unreadable);
    Diagnostics wrong{path, text};
    const auto document = parse_document(text, wrong);
    if (unreadable.ok() && wrong.ok() && !document.find("scenario") && !document.find("method")) return;
    Scenario scenario;
    std::string of_samples;
    if (unreadable.ok() && wrong.ok()) {
      scenario = read_scenario(text, out_.landscape, catalogue_vocabulary(), wrong);
      of_samples =
          read_sample_files(scenario, (root_ / path).parent_path().string(), catalogue_vocabulary(), wrong);
    }
    if (wrong.ok() && of_samples.empty()) make_plan(scenario, scenario.seed.value_or(1), wrong);
    const auto errors = unreadable.render() + wrong.render() + of_samples;
    complain(path, errors);
    if (errors.empty()) keep(path, text, document, scenario);
  }

  void keep(const std::string& path, const std::string& text, const Value& document,
            const Scenario& scenario) {
    FolderDrill drill{scenario.name, scenario.title, scenario.squad, scenario.hypothesis, path, text};
    if (const auto twin = out_.drills.find(scenario.name); twin != out_.drills.end())
      return complain(path, fmt::format("{}: error: the scenario {} is in {} too; names are one file's\n",
                                        path, scenario.name, twin->second.path));
    drill.touched = touched_by(scenario, document, out_.landscape);
    auto bytes =
        fmt::format("{}:{}{}:{}", text.size(), text, out_.landscape_text.size(), out_.landscape_text);
    for (auto& step : scenario.method) {
      if (!step.samples) continue;
      drill.refused = "it replays a file of samples; give its delays in the scenario itself";
    }
    drill.hash = sha256_hex(bytes);
    if (!out_.landscape_ok) drill.refused = "landscape.yaml is wrong";
    if (!allow_commands_ && runs_commands(scenario))
      drill.refused =
          "it has command probes, which run with the daemon's rights: start it with --allow-commands";
    out_.drills[scenario.name] = std::move(drill);
  }

  void read_game_day(const std::string& path) {
    one(path, [&](auto text, auto& wrong) {
      const auto document = parse_document(text, wrong);
      FolderGameDay day;
      day.name = fs::path(path).stem().string();
      if (const auto bad = slug_problem(day.name); !bad.empty()) wrong.error({}, "its file's name: " + bad);
      if (wrong.ok() && Describe<FolderGameDay>::object().decode(document, day, wrong))
        out_.gamedays[day.name] = day;
    });
  }

  void check_references() {
    std::vector<std::string> names;
    for (auto& [name, drill] : out_.drills)
      names.push_back(name);
    for (auto& [name, schedule] : out_.schedules.schedules)
      if (!out_.drills.contains(schedule.drill))
        complain("schedules.yaml", fmt::format("schedules.yaml: error: {}: no drill here is called {}{}\n",
                                               name, quote(schedule.drill), hint(schedule.drill, names)));
    for (auto& [name, day] : out_.gamedays)
      for (auto& drill : day.drills)
        if (!out_.drills.contains(drill))
          complain("gamedays/" + name + ".yaml",
                   fmt::format("gamedays/{}.yaml: error: no drill here is called {}{}\n", name, quote(drill),
                               hint(drill, names)));
  }

  fs::path root_;
  bool allow_commands_;
  Folder out_;
};

}  // namespace

Folder read_folder(const std::string& path, bool allow_commands) {
  return Reader{path, allow_commands}.read();
}

std::string folder_state(const std::string& path) {
  std::string out;
  for (auto& file : yaml_files(path)) {
    std::error_code ignored;
    const auto full = fs::path(path) / file;
    out += fmt::format("{}:{}:{};", file, fs::file_size(full, ignored),
                       fs::last_write_time(full, ignored).time_since_epoch().count());
  }
  return out;
}

std::vector<std::string> neighbours(const Landscape& landscape, const std::vector<std::string>& services) {
  std::set<std::string> out(services.begin(), services.end());
  for (auto& [name, service] : landscape.services)
    for (auto& needed : service.depends_on) {
      const bool here = std::find(services.begin(), services.end(), name) != services.end();
      const bool there = std::find(services.begin(), services.end(), needed) != services.end();
      if (here) out.insert(needed);
      if (there) out.insert(name);
    }
  return {out.begin(), out.end()};
}

}  // namespace serve

const Object<serve::FolderGameDay>& Describe<serve::FolderGameDay>::object() {
  using serve::FolderGameDay;
  static const auto object =
      Object<FolderGameDay>("a day of drills that people follow together")
          .required("title", &FolderGameDay::title, "what it is called")
          .optional("date", &FolderGameDay::date, "when it is")
          .optional("facilitator", &FolderGameDay::facilitator, "who leads through it")
          .optional("lead", &FolderGameDay::lead, "the incident lead")
          .optional("scribe", &FolderGameDay::scribe, "who writes down what happens")
          .optional("participants", &FolderGameDay::participants, "who takes part")
          .optional("objectives", &FolderGameDay::objectives, "what is to be learnt")
          .optional("checks", &FolderGameDay::checks, "what has to be so before it begins")
          .required("drills", &FolderGameDay::drills, "scenarios by their names, in order");
  return object;
}

}  // namespace squall
