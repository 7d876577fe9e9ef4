#include "scenarios/model/method.hpp"

#include <set>
#include <unordered_map>

#include "scenarios/model/references.hpp"

namespace squall {
namespace {

std::string joined(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

const Value* find(const Value& step, std::string_view key) {
  return step.kind == Value::Kind::map ? step.find(key) : nullptr;
}

class StepCheck {
 public:
  StepCheck(const FaultVocabulary& faults, Diagnostics& diagnostics)
      : faults_(faults), diagnostics_(diagnostics) {}

  void check(const Value& text, const Step& step) {
    auto* fault = find(text, "fault");
    if (!fault || fault->kind != Value::Kind::scalar) return;
    auto* parameters = faults_.parameters(fault->text);
    if (!parameters) {
      diagnostics_.error(fault->place, fmt::format("unknown fault {}{}", quote(fault->text),
                                                   hint(fault->text, faults_.names())));
      return;
    }
    parameters->check(step.with, diagnostics_);
    check_aims(text, fault->text);
    if (faults_.lasting(fault->text) && !find(text, "for"))
      diagnostics_.error(
          text.place,
          fmt::format("missing key \"for\": how long {} stays in force, such as 30s", fault->text));
    if (auto* ramp = find(text, "ramp"); ramp && !faults_.ramps(fault->text))
      diagnostics_.error(ramp->place, fmt::format("{} cannot be ramped", fault->text));
  }

 private:
  void check_aims(const Value& text, const std::string& fault) {
    auto* on = find(text, "on");
    if (!on || on->kind != Value::Kind::map) return;
    const auto aims = faults_.aims(fault);
    for (auto& field : Describe<TargetSpec>::object().fields()) {
      if (std::find(aims.begin(), aims.end(), field.name) != aims.end()) continue;
      for (auto& member : on->members)
        if (member.key == field.name)
          diagnostics_.error(member.place, fmt::format("{} cannot be aimed with \"{}\", expected one of {}",
                                                       fault, field.name, joined(aims)));
    }
  }

  const FaultVocabulary& faults_;
  Diagnostics& diagnostics_;
};

using Index = std::unordered_map<std::string, std::size_t>;

Index check_duplicates(const std::vector<const Value*>& texts, const std::vector<Step>& steps,
                       Diagnostics& diagnostics) {
  Index index;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].name.empty()) continue;
    const auto [first, fresh] = index.emplace(steps[i].name, i);
    auto* name = find(*texts[i], "name");
    if (!fresh && name)
      diagnostics.error(name->place, fmt::format("duplicate step \"{}\", first given in line {}",
                                                 steps[i].name, steps[first->second].place.line));
  }
  return index;
}

// Each step follows at most one other, so a walk along `after` either ends or closes a circle.
void check_order(const std::vector<const Value*>& texts, const std::vector<Step>& steps, const Index& index,
                 Diagnostics& diagnostics) {
  std::vector<int> seen(steps.size(), 0);  // 0: not yet, otherwise the number of the walk that came by
  std::vector<std::string> names;
  for (auto& step : steps)
    names.push_back(step.name);
  auto next = [&](std::size_t i) { return steps[i].after ? index.find(*steps[i].after) : index.end(); };
  for (std::size_t start = 0; start < steps.size(); ++start) {
    if (steps[start].after && next(start) == index.end())
      diagnostics.error(
          find(*texts[start], "after")->place,
          fmt::format("unknown step {}{}", quote(*steps[start].after), hint(*steps[start].after, names)));
    const int walk = static_cast<int>(start) + 1;
    auto at = start;
    while (!seen[at]) {
      seen[at] = walk;
      auto following = next(at);
      if (following == index.end()) break;
      if (seen[following->second] == walk) {
        std::string circle = steps[following->second].name;
        for (auto i = following->second;; i = next(i)->second) {
          circle += " after " + *steps[i].after;
          if (next(i)->second == following->second) break;
        }
        diagnostics.error(find(*texts[at], "after")->place,
                          fmt::format("these steps wait for each other: {}", circle));
        break;
      }
      at = following->second;
    }
  }
}

}  // namespace

void name_steps(std::vector<Step>& steps) {
  std::set<std::string> taken;
  for (auto& step : steps)
    taken.insert(step.name);
  for (auto& step : steps) {
    if (!step.name.empty()) continue;
    step.name = step.fault;
    for (int n = 2; !taken.insert(step.name).second; ++n)
      step.name = fmt::format("{}-{}", step.fault, n);
  }
}

void check_method(const Value& text, const std::vector<Step>& steps, const FaultVocabulary& faults,
                  Diagnostics& diagnostics) {
  const auto texts = entries(text.find("method"));
  if (texts.size() != steps.size()) return;
  StepCheck step_check{faults, diagnostics};
  for (std::size_t i = 0; i < steps.size(); ++i)
    step_check.check(*texts[i], steps[i]);
  check_order(texts, steps, check_duplicates(texts, steps, diagnostics), diagnostics);
}

}  // namespace squall
