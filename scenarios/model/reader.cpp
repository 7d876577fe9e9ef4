#include "scenarios/model/reader.hpp"

#include "scenarios/model/method.hpp"
#include "scenarios/model/references.hpp"

namespace squall {
namespace {

// A parsed document that is worth decoding; an empty one is told here.
std::optional<Value> parse(std::string_view text, std::string_view what, Diagnostics& diagnostics) {
  auto value = parse_document(text, diagnostics);
  if (value.kind != Value::Kind::null) return value;
  if (diagnostics.ok()) diagnostics.error({}, fmt::format("expected {}, got an empty file", what));
  return std::nullopt;
}

void check_anything_to_do(const Value& text, const Scenario& scenario, Diagnostics& diagnostics) {
  if (auto* method = text.find("method");
      method && method->kind == Value::Kind::list && scenario.method.empty())
    diagnostics.error(method->place, "expected at least one fault, got an empty list");
  if (auto* expect = text.find("expect");
      expect && expect->kind == Value::Kind::list && scenario.expect.empty())
    diagnostics.error(expect->place,
                      "expected at least one expectation, got an empty list: nothing would be judged");
}

}  // namespace

Landscape read_landscape(std::string_view text, Diagnostics& diagnostics) {
  Landscape landscape;
  const auto value = parse(text, "a landscape", diagnostics);
  if (!value) return landscape;
  Describe<Landscape>::object().decode(*value, landscape, diagnostics);
  if (value->kind == Value::Kind::map) check_landscape_names(*value, landscape, diagnostics);
  return landscape;
}

Scenario read_scenario(std::string_view text, const Landscape& base, const FaultVocabulary& faults,
                       Diagnostics& diagnostics) {
  Scenario scenario;
  scenario.landscape = base;
  const auto value = parse(text, "a scenario", diagnostics);
  if (!value) return scenario;
  Describe<Scenario>::object().decode(*value, scenario, diagnostics);
  if (value->kind != Value::Kind::map) return scenario;
  name_steps(scenario.method);
  check_anything_to_do(*value, scenario, diagnostics);
  check_method(*value, scenario.method, faults, diagnostics);
  check_landscape_names(*value, scenario.landscape, diagnostics);
  check_scenario_names(*value, scenario, diagnostics);
  return scenario;
}

std::string read_sample_files(Scenario& scenario, const std::string& folder, const FaultVocabulary& faults,
                              Diagnostics& diagnostics) {
  std::string errors;
  for (auto& step : scenario.method) {
    auto* parameters = faults.parameters(step.fault);
    if (!parameters) continue;
    std::string of_file;
    step.samples = put_samples_inline(step.with, *parameters, folder, diagnostics, of_file);
    if (errors.find(of_file) == std::string::npos) errors += of_file;  // several steps may name the same file
  }
  return errors;
}

}  // namespace squall
