#include "scenarios/model/reader.hpp"

namespace squall {
namespace {

constexpr auto draft = "http://json-schema.org/draft-07/schema#";

// What holds of a step once its fault is known: its parameters, its aims, and whether it needs `for`.
boost::json::object when_fault(const std::string& name, const FaultVocabulary& faults) {
  auto with = faults.parameters(name)->json_schema();
  with["description"] = faults.sentence(name);
  boost::json::object on;
  const auto aims = faults.aims(name);
  for (auto& field : Describe<TargetSpec>::object().fields())
    if (std::find(aims.begin(), aims.end(), field.name) == aims.end()) on[field.name] = false;
  boost::json::object then{{"properties", {{"with", with}, {"on", {{"properties", on}}}}}};
  boost::json::array required;
  if (faults.lasting(name)) required.emplace_back("for");
  if (with.contains("required")) required.emplace_back("with");
  if (!required.empty()) then["required"] = std::move(required);
  return {{"if", {{"properties", {{"fault", {{"const", name}}}}}, {"required", boost::json::array{"fault"}}}},
          {"then", std::move(then)}};
}

boost::json::object step_schema(const FaultVocabulary& faults) {
  auto step = Describe<Step>::object().json_schema();
  boost::json::array names, cases;
  for (auto& name : faults.names()) {
    names.emplace_back(name);
    cases.push_back(when_fault(name, faults));
  }
  auto& fault = step["properties"].as_object()["fault"].as_object();
  fault.erase("type");
  fault["enum"] = std::move(names);
  step["allOf"] = std::move(cases);
  return step;
}

}  // namespace

boost::json::object scenario_json_schema(const FaultVocabulary& faults) {
  auto schema = Describe<Scenario>::object().json_schema();
  schema["$schema"] = draft;
  schema["title"] = "Squall scenario";
  schema["definitions"] = {{"step", step_schema(faults)}};
  auto& properties = schema["properties"].as_object();
  const boost::json::object step{{"$ref", "#/definitions/step"}};
  properties["method"].as_object()["anyOf"] = {boost::json::object{{"type", "array"}, {"items", step}}, step};
  properties["scenario"].as_object()["type"] = "string";
  properties["scenario"].as_object()["pattern"] = "^[a-z0-9][a-z0-9-]{0,63}$";
  for (auto* list : {"method", "expect"})
    properties[list].as_object()["anyOf"].as_array()[0].as_object()["minItems"] = 1;
  return schema;
}

boost::json::object landscape_json_schema() {
  auto schema = Describe<Landscape>::object().json_schema();
  schema["$schema"] = draft;
  schema["title"] = "Squall landscape";
  return schema;
}

}  // namespace squall
