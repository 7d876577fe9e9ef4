#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "controller/commands/input.hpp"
#include "injector/faults/fault.hpp"

namespace squall {
namespace {

namespace json = boost::json;

json::object as_json(const FaultType& fault) {
  json::array aims;
  for (auto& aim : fault.aims)
    aims.emplace_back(aim);
  json::array examples;
  for (auto& example : fault.examples)
    examples.emplace_back(fmt::format("squall inject {} {}", fault.name, example));
  return {{"fault", fault.name},
          {"sentence", fault.sentence},
          {"lasting", fault.lasting},
          {"ramps", fault.ramps},
          {"undo", fault.undo},
          {"aims", std::move(aims)},
          {"examples", std::move(examples)},
          {"parameters", fault.parameters->json_schema()}};
}

// The keys of a parameter that is a mapping.
void describe_inner(const json::object& schema, std::string_view name, std::size_t wide) {
  auto* inner = schema.at("properties").at(name).as_object().if_contains("properties");
  if (!inner) return;
  for (auto& [key, about] : inner->get_object())
    fmt::print("  {:<{}}  {}.{}: {}\n", "", wide, name, std::string_view(key),
               std::string_view(about.at("description").as_string()));
}

void describe(const FaultType& fault) {
  fmt::print("{}: {}\n\n", fault.name, fault.sentence);
  fmt::print("parameters (with:, or key=value, of a list key=one,two or the key again)\n");
  const auto fields = fault.parameters->fields();
  const auto schema = fault.parameters->json_schema();
  std::size_t wide = 0;
  for (auto& field : fields)
    wide = std::max(wide, field.name.size());
  for (auto& field : fields) {
    std::string notes;
    if (field.required) notes += ", required";
    if (!field.default_text.empty()) notes += ", default " + field.default_text;
    if (!field.bounds.empty()) notes += ", " + field.bounds;
    fmt::print("  {:<{}}  {}\n  {:<{}}  {}{}\n", field.name, wide, field.sentence, "", wide, field.type,
               notes);
    if (field.type == "mapping") describe_inner(schema, field.name, wide);
  }
  if (fault.aims.empty())
    fmt::print("\naimed at the host as a whole\n");
  else
    fmt::print("\naimed with (on:, or --on key=value)\n  {}\n", fmt::join(fault.aims, ", "));
  fmt::print("\nundo\n  {}\n", fault.undo);
  if (!fault.lasting)
    fmt::print("  It is an act: over at once. `for:` says how long its effect is observed (10s).\n");
  if (fault.ramps) fmt::print("  It can be ramped up (`ramp: {{up: 10s}}`).\n");
  if (!fault.examples.empty()) fmt::print("\nexamples\n");
  for (auto& example : fault.examples)
    fmt::print("  squall inject {} {}\n", fault.name, example);
}

}  // namespace

int faults_command(const Arguments& arguments) {
  if (!arguments.fault.empty()) {
    auto* fault = find_fault(arguments.fault);
    if (!fault) {
      std::vector<std::string> names;
      for (auto* one : fault_catalogue())
        names.emplace_back(one->name);
      const auto close = nearest(arguments.fault, names);
      complain(fmt::format("no fault is called \"{}\"{}", arguments.fault,
                           close.empty() ? fmt::format("; there are {}", fmt::join(names, ", "))
                                         : fmt::format("; did you mean \"{}\"?", close)));
      return exit_input;
    }
    if (arguments.json())
      fmt::print("{}\n", json::serialize(as_json(*fault)));
    else
      describe(*fault);
    return exit_pass;
  }
  json::array all;
  std::size_t wide = 0;
  for (auto* fault : fault_catalogue())
    wide = std::max(wide, fault->name.size());
  for (auto* fault : fault_catalogue()) {
    if (arguments.json())
      all.push_back(as_json(*fault));
    else
      fmt::print("{:<{}}  {}\n", fault->name, wide, fault->sentence);
  }
  if (arguments.json())
    fmt::print("{}\n", json::serialize(all));
  else
    fmt::print("\n`squall faults NAME` tells its parameters, `squall doctor` what this host can take.\n");
  return exit_pass;
}

}  // namespace squall
