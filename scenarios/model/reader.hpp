// From files to a checked scenario: everything that one file alone can tell is checked here.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "scenarios/model/scenario.hpp"

namespace squall {

// What the reader asks about faults it does not know itself: the catalogue, seen from the bottom layer.
class FaultVocabulary {
 public:
  virtual ~FaultVocabulary() = default;
  virtual std::vector<std::string> names() const = 0;
  // The parameters of a fault, nullptr for an unknown name.
  virtual const ObjectSchema* parameters(std::string_view fault) const = 0;
  // The keys of TargetSpec that the fault can be aimed with.
  virtual std::vector<std::string> aims(std::string_view fault) const = 0;
  // One sentence that says what it does.
  virtual std::string sentence(std::string_view fault) const = 0;
  // Whether it stays in force (and needs `for:`), or is an act that is over at once.
  virtual bool lasting(std::string_view fault) const = 0;
  virtual bool ramps(std::string_view fault) const = 0;
};

// Reads a landscape; errors carry its places.
Landscape read_landscape(std::string_view text, Diagnostics&);

// Reads a scenario. `base` is the landscape file's content; the scenario's own sections are merged over it.
// Checked: keys, types, units, faults' names and parameters, names that refer to nothing (services, hosts,
// squads, steps), cycles of `after`, nothing to observe, and whatever else one can know without touching a
// host.
Scenario read_scenario(std::string_view text, const Landscape& base, const FaultVocabulary&, Diagnostics&);

// Reads the files of samples that the method names, from beside the scenario in `folder`: their delays go
// into the steps' parameters. A file that cannot be read goes to `diagnostics`; what is wrong within files is
// returned, rendered.
std::string read_sample_files(Scenario&, const std::string& folder, const FaultVocabulary&, Diagnostics&);

// JSON Schema (draft-07) of the scenario and of the landscape file, for editors.
boost::json::object scenario_json_schema(const FaultVocabulary&);
boost::json::object landscape_json_schema();

}  // namespace squall
