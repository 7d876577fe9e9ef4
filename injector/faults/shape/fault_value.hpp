// The one way to declare a fault: a value of what it is called, what it takes, and three functions. README.md
// beside this file is the recipe.
//
//   extern const FaultType process_pause;
//   const FaultType process_pause = fault<ProcessPause, Paused>({
//       .info = {.name = "process.pause", …}, .parameters = &parameters,
//       .does = {prepare, apply, measure}});
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/faults/shape/life.hpp"
#include "injector/faults/shape/target.hpp"

namespace squall::faults {

// What this host lacks for a fault that needs root alone, "" for nothing.
std::string needs_root();

// What help, plans and `squall doctor` print. Each text is a literal: it is kept for as long as the program
// runs.
struct FaultInfo {
  std::string_view name;      // "process.pause"
  std::string_view sentence;  // "stops processes without ending them, as a hang would"
  std::vector<std::string> aims;
  bool instantaneous = false;  // over at once; `for:` is how long its effect is observed
  std::string_view together;
  std::string_view undo;
  std::vector<std::string> examples;
  std::string_view mechanism;             // the kernel mechanism
  std::string_view measures;              // what its dose measurement sees, and what not
  std::string (*missing)() = needs_root;  // why this host cannot take it, and how to get it
};

template <class With, class State>
struct Does {
  // Resolves the target and refuses what cannot be meant (Target::refuse). Changes nothing.
  State (*prepare)(const With&, Target&) = nullptr;
  // Queues changes through verbs.
  void (*apply)(State&, Transaction&) = nullptr;
  // Fills the dose from the effect. Called about four times a second, and a last time before the undo.
  void (*measure)(State&, Dose&) = nullptr;
};

// Of a State that does it by itself: made of both, with apply and measure as its members.
template <class With, class State>
constexpr Does<With, State> by_itself() {
  return {[](const With& with, Target& target) { return State(with, target); },
          [](State& state, Transaction& host) { state.apply(host); },
          [](State& state, Dose& dose) { state.measure(dose); }};
}

template <class With, class State>
struct Declaration {
  FaultInfo info;
  const Object<With>* parameters = nullptr;
  Does<With, State> does;
  // All others may be left out. After the changes were made: timers and events.
  void (*started)(State&, Life&) = nullptr;
  void (*set_level)(State&, double share) = nullptr;
  std::vector<FaultEvent> (*events)(State&) = nullptr;
};

// Its doctor: the one mechanism, and what is missing for it.
std::vector<Capability> examine(const FaultInfo&);
// Calls `make`; what it throws as Unfit becomes a diagnostic.
std::unique_ptr<Fault> make_or_tell(Diagnostics&, const std::function<std::unique_ptr<Fault>()>& make);
// What is the same for all of them.
FaultType type_of(const FaultInfo&, const ObjectSchema*);

template <class With, class State>
class DeclaredFault : public Fault {
 public:
  using Of = Declaration<With, State>;
  DeclaredFault(const Of& of, const With& with, const Value& value, const TargetSpec& on,
                const Setting& setting)
      : of_(of), target_(on, setting, value), state_(of_.does.prepare(with, target_)), life_(setting) {}

  std::string mechanism() const override { return std::string(of_.info.mechanism); }
  std::vector<std::string> targets() const override { return target_.names(); }
  std::vector<std::string> limits() const override { return target_.caveats(); }
  std::vector<std::string> claims() const override { return target_.claims(); }
  Reach reach() const override { return std::as_const(target_).reach(); }
  void apply(Transaction& host) override { of_.does.apply(state_, host); }
  void started() override {
    if (of_.started) of_.started(state_, life_);
  }
  void set_level(double share) override {
    if (of_.set_level) of_.set_level(state_, share);
  }
  Dose measure() override { return last_ ? *last_ : look(); }
  std::vector<FaultEvent> events() override {
    auto out = life_.take_events();
    if (of_.events)
      for (auto& event : of_.events(state_))
        out.push_back(std::move(event));
    return out;
  }
  // What is seen after the undo is not the effect any more: the last look before it stands.
  void stopping() override {
    if (last_) return;
    life_.end();
    last_ = look();
  }

 private:
  Dose look() {
    Dose out;
    of_.does.measure(state_, out);
    ++looks_;
    if (!out.samples) out.samples = looks_;
    return out;
  }

  Of of_;
  Target target_;
  State state_;
  Life life_;  // ends before what it calls is gone
  std::uint64_t looks_ = 0;
  std::optional<Dose> last_;
};

template <class With, class State>
FaultType fault(Declaration<With, State> of) {
  auto out = type_of(of.info, of.parameters);
  out.ramps = of.set_level != nullptr;
  out.prepare = [of](const Value& value, const TargetSpec& on, const Setting& setting,
                     Diagnostics& diagnostics) {
    return make_or_tell(diagnostics, [&]() -> std::unique_ptr<Fault> {
      With with;
      if (!of.parameters->decode(value, with, diagnostics)) return nullptr;
      return std::make_unique<DeclaredFault<With, State>>(of, with, value, on, setting);
    });
  };
  return out;
}

}  // namespace squall::faults
