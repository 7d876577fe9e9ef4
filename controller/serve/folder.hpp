// The folder that says what there is to do: landscape.yaml, scenarios anywhere below, schedules.yaml,
// people.yaml, gamedays/*.yaml. A file that is wrong is told with its errors, and everything else goes on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controller/serve/rights/people.hpp"
#include "controller/serve/when/schedules.hpp"
#include "scenarios/model/scenario.hpp"

namespace squall::serve {

struct FolderDrill {
  std::string name, title, squad, hypothesis, path;  // path: below the folder
  std::string text;
  Touched touched;
  // SHA-256 over the scenario, its landscape and its files of samples: what an approval is bound to.
  std::string hash;
  std::string refused;  // why the daemon does not run it; ""
};

struct FolderGameDay {
  std::string name, title, date, facilitator, lead, scribe;
  std::vector<std::string> participants, objectives, checks, drills;
};

struct BrokenFile {
  std::string path, errors;
};

struct Folder {
  std::string landscape_text;
  Landscape landscape;
  bool landscape_ok = false;
  std::map<std::string, FolderDrill> drills;
  std::map<std::string, FolderGameDay> gamedays;
  Schedules schedules;
  People people;
  std::vector<BrokenFile> broken;
};

// `allow_commands`: whether a scenario may have command probes, which run with the daemon's own rights.
Folder read_folder(const std::string& path, bool allow_commands);

// Changes whenever a file in it was written, made or removed: paths, sizes and times.
std::string folder_state(const std::string& path);

// Every service that may be harmed where these are: they themselves and all that depend on them, or they on.
std::vector<std::string> neighbours(const Landscape&, const std::vector<std::string>& services);

}  // namespace squall::serve

namespace squall {
template <>
struct Describe<serve::FolderGameDay> {
  static const Object<serve::FolderGameDay>& object();
};
}  // namespace squall
