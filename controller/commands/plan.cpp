#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "controller/alerts/lookout.hpp"
#include "controller/commands/input.hpp"
#include "controller/commands/one_host.hpp"
#include "controller/commands/told_plan.hpp"
#include "controller/engine/asked_plans.hpp"
#include "controller/engine/requests.hpp"
#include "controller/plan/foresight.hpp"
#include "controller/plan/planner.hpp"

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

int plan_one(const Arguments& arguments, const std::string& file) {
  auto read = read_files(file, arguments.landscape);
  if (!read.ok) {
    fmt::print(stderr, "{}", read.errors);
    return exit_input;
  }
  const auto seed = seed_of(arguments, read.scenario);
  Diagnostics wrong{file, read.scenario_text};
  const auto plan = make_plan(read.scenario, seed, wrong);
  if (!wrong.ok()) {
    fmt::print(stderr, "{}", wrong.render());
    return exit_input;
  }
  int code = exit_pass;
  json::array out;
  if (!arguments.json())
    fmt::print(
        "{}: {}\nbaseline {}, recovery {}, seed {}; {} on {} of {} hosts. Nothing is changed by planning.\n",
        read.scenario.name, read.scenario.title, to_string(read.scenario.baseline.lasts),
        to_string(read.scenario.recovery.lasts), seed,
        plan.faults.size() == 1 ? "one fault" : fmt::format("{} faults", plan.faults.size()),
        [&] {
          std::map<std::string, int> touched;
          for (auto& fault : plan.faults)
            touched[fault.host] = 1;
          return touched.size();
        }(),
        plan.hosts.size());
  auto notes = plan.notes;
  for (auto& note : foresee(read.scenario))
    notes.push_back(note);
  if (!arguments.json())
    for (auto& note : notes)
      fmt::print("note: {}\n", note);
  std::fflush(stdout);
  LinkOptions link;
  link.state = arguments.state;
  link.privileged = false;
  AskedPlans asked{plan, link, read.scenario.landscape.environment};
  asked.run();
  if (asked.interrupted) {
    complain("interrupted; nothing was changed");
    return exit_halted;
  }
  for (auto& [host, why] : asked.unreachable) {
    complain(fmt::format("reach the host {}: {}", host, why));
    code = exit_could_not_run;
  }
  std::vector<std::vector<std::string>> claims;
  for (auto& fault : plan.faults) {
    const auto found = asked.replies.find(&fault);
    if (found == asked.replies.end()) {
      claims.emplace_back();
      continue;
    }
    auto& reply = found->second;
    if (!reply) {
      if (code != exit_could_not_run) code = reply.error().kind == "input" ? exit_input : exit_could_not_run;
      wrong.error(fault.step->place,
                  fmt::format("step \"{}\" on {}: {}", fault.step->name, fault.host, reply.error().text));
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
  auto alert_notes = witnesses(read.scenario);
  const bool about_alerts = std::any_of(read.scenario.expect.begin(), read.scenario.expect.end(),
                                        [](auto& e) { return e.alert || e.other_alerts; });
  if (about_alerts)
    for (auto& found : ask_for_findings(read.scenario))
      alert_notes.push_back(found);
  if (arguments.json())
    fmt::print("{}\n", json::serialize(json::object{{"seed", seed},
                                                    {"notes", json::value_from(notes)},
                                                    {"plan", std::move(out)},
                                                    {"alerts", json::value_from(alert_notes)}}));
  else if (!alert_notes.empty())
    fmt::print("\nalerts\n");
  if (!arguments.json())
    for (auto& note : alert_notes)
      fmt::print("  {}\n", note);
  const auto refused = wrong.errors().size();
  check_claims(read.scenario, plan, claims, wrong);
  if (wrong.errors().size() > refused && code == exit_pass) code = exit_input;
  fmt::print(stderr, "{}", wrong.render());
  if (code == exit_pass && !arguments.json())
    fmt::print("\nto run it on these hosts and targets: squall run {}{} --seed {}\n", file,
               arguments.landscape.empty() ? "" : " --landscape " + arguments.landscape, seed);
  return code;
}

}  // namespace

int plan_command(const Arguments& arguments) {
  const auto files = expand_files(arguments.files, false);
  if (!files.error.empty()) {
    complain(files.error);
    return exit_input;
  }
  int code = exit_pass;
  for (auto& file : files.paths) {
    const int one = plan_one(arguments, file);
    if (code == exit_pass || one == exit_could_not_run) code = one;
    if (one == exit_halted) return one;
  }
  return code;
}

}  // namespace squall
