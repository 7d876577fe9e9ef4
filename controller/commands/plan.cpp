#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "controller/alerts/lookout.hpp"
#include "controller/commands/one_host.hpp"
#include "controller/commands/told_plan.hpp"
#include "controller/engine/requests.hpp"
#include "controller/planner.hpp"

namespace squall {
namespace {

namespace json = boost::json;

std::string timeline(const Step& step) {
  std::string when = step.after ? fmt::format("after \"{}\"", *step.after)
                                : fmt::format("at {}", to_string(step.at.value_or(Duration{0})));
  if (step.lasts) when += fmt::format(", for {}", to_string(*step.lasts));
  if (step.ramp) when += fmt::format(", ramped up over {}", to_string(step.ramp->up));
  return when;
}

void print_fault(const PlannedFault& fault, const json::object& told) {
  fmt::print("\n{} on {}: {}\n", fault.step->name, fault.host, fault.step->fault);
  fmt::print("  when       {}\n", timeline(*fault.step));
  print_told_plan(told, fault.step->samples);
}

}  // namespace

int plan_command(const Arguments& arguments) {
  auto read = read_files(arguments.files.at(0), arguments.landscape);
  if (!read.ok) {
    fmt::print(stderr, "{}", read.errors);
    return exit_input;
  }
  const auto seed = arguments.seed ? *arguments.seed : read.scenario.seed.value_or(1);
  Diagnostics wrong{arguments.files.at(0), read.scenario_text};
  const auto plan = make_plan(read.scenario, seed, wrong);
  if (!wrong.ok()) {
    fmt::print(stderr, "{}", wrong.render());
    return exit_input;
  }
  int code = exit_pass;
  json::array out;
  if (!arguments.json())
    fmt::print("{}: {}\nbaseline {}, recovery {}, seed {}; {} on {} of {} hosts. Nothing is changed by planning.\n",
               read.scenario.name, read.scenario.title, to_string(read.scenario.baseline.lasts),
               to_string(read.scenario.recovery.lasts), seed,
               plan.faults.size() == 1 ? "one fault" : fmt::format("{} faults", plan.faults.size()),
               [&] {
                 std::map<std::string, int> touched;
                 for (auto& fault : plan.faults) touched[fault.host] = 1;
                 return touched.size();
               }(),
               plan.hosts.size());
  std::map<std::string, std::unique_ptr<OneHost>> hosts;
  std::vector<std::vector<std::string>> claims;
  for (auto& fault : plan.faults) {
    Reply reply = tl::unexpected(Refusal{});
    try {
      auto& host = hosts[fault.host];
      if (!host) host = std::make_unique<OneHost>(arguments, ChosenHost{true, "", fault.host, plan.hosts.at(fault.host)}, false);
      reply = host->ask(fault_request("plan", fault));
    } catch (const std::exception& e) {
      reply = tl::unexpected(Refusal{"lost", e.what()});
    }
    if (!reply) {
      code = reply.error().kind == "input" ? exit_input : exit_could_not_run;
      wrong.error(fault.step->place, fmt::format("step \"{}\" on {}: {}", fault.step->name, fault.host, reply.error().text));
      claims.emplace_back();
      continue;
    }
    claims.push_back(claims_of(*reply));
    (*reply)["targets"] = told_targets(fault, *reply);
    if (!arguments.json()) {
      print_fault(fault, *reply);
      continue;
    }
    json::object line{{"step", fault.step->name}, {"fault", fault.step->fault}, {"host", fault.host}};
    if (fault.step->samples) line["samples"] = describe(*fault.step->samples);
    if (!fault.cannot_hear.empty()) line["cannot_hear"] = json::value_from(fault.cannot_hear);
    for (auto& [key, value] : *reply)
      if (key != "id" && key != "ok") line[key] = value;
    out.push_back(std::move(line));
  }
  auto notes = witnesses(read.scenario);
  const bool about_alerts = std::any_of(read.scenario.expect.begin(), read.scenario.expect.end(), [](auto& e) { return e.alert || e.other_alerts; });
  if (about_alerts)
    for (auto& found : ask_for_findings(read.scenario)) notes.push_back(found);
  if (arguments.json())
    fmt::print("{}\n", json::serialize(json::object{{"seed", seed}, {"plan", std::move(out)}, {"alerts", json::value_from(notes)}}));
  else if (!notes.empty())
    fmt::print("\nalerts\n");
  if (!arguments.json())
    for (auto& note : notes) fmt::print("  {}\n", note);
  const auto refused = wrong.errors().size();
  check_claims(read.scenario, plan, claims, wrong);
  if (wrong.errors().size() > refused && code == exit_pass) code = exit_input;
  fmt::print(stderr, "{}", wrong.render());
  return code;
}

}  // namespace squall
