// What several commands read the same way: the scenario with its landscape, and the one host that is meant.
#pragma once

#include <string>

#include "controller/commands/commands.hpp"
#include "scenarios/model/scenario.hpp"
#include "scenarios/schema/schema.hpp"

namespace squall {

struct ReadScenario {
  bool ok = false;
  std::string errors;  // rendered diagnostics where it is not ok
  Scenario scenario;
  std::string scenario_text, landscape_text;
  std::vector<std::string> files;
};

// Reads FILE, the landscape file (--landscape, else landscape.yaml beside FILE where there is one) and files
// of samples.
ReadScenario read_files(const std::string& file, const std::string& landscape);

// The seed that a drill has where the command line gives none: the scenario's own, else 1, so that what was
// planned is what is run.
std::uint64_t seed_of(const Arguments&, const Scenario&);

// Files as they are, folders as the scenarios in them, sorted, and landscapes too where they are wanted.
struct ExpandedFiles {
  std::vector<std::string> paths;
  std::string error;
};
ExpandedFiles expand_files(const std::vector<std::string>&, bool landscapes);

// A landscape file says no `scenario:`.
bool is_landscape(const std::string& text);

struct ChosenHost {
  bool ok = false;
  std::string error;
  std::string name = "here";
  HostSpec spec;
};

// --host NAME of the landscape; without it the local host.
ChosenHost choose_host(const Arguments&);

// --host NAME; with --all, or where a landscape is named, every host of it; else the local host.
struct ChosenHosts {
  std::string error;
  std::vector<ChosenHost> hosts;
  bool of_landscape = false;
};
ChosenHosts choose_hosts(const Arguments&);

// key=value parameters of a fault. Where the parameter is a list, commas part its entries, and the key may
// come again; but entries that are headers of HTTP may hold commas themselves, so that for them the key comes
// again. What stands in a mapping is named with it: gilbert_elliott.worsens=1%.
Value parameters_of(const std::vector<std::string>& arguments, const ObjectSchema&, Diagnostics&);

// Whether colours go to this file descriptor: --color, NO_COLOR (no-color.org), TERM=dumb, and whether it is
// a terminal.
bool wants_color(const Arguments&, int fd);

// Prints to stderr "squall: error: …" in one line.
void complain(const std::string& text);

}  // namespace squall
