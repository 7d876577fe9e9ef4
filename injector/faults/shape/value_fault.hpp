// The one way to write a new fault: a struct of its parameters' and its own state with a few functions; all
// else is the same for every fault and stands here.
//
//   struct Pause {
//     struct With { Amount count; };
//     static const Object<With>& parameters();
//     Pause(const With&, Target&);             // resolves, and throws Unfit; changes nothing
//     std::string mechanism() const;
//     std::vector<std::string> targets() const, claims() const;
//     Reach reach() const;
//     void apply(Transaction&);
//     void measure(Dose&);                     // from the effect; not called any more once the undo began
//     // where it needs them: limits(), started(Life&), set_level(double), stopping()
//   };
//   const FaultType process_pause = fault<Pause>({.name = "process.pause", …});
#pragma once

#include <memory>
#include <optional>

#include "injector/faults/shape/life.hpp"
#include "injector/faults/shape/target.hpp"

namespace squall::faults {

template <class F>
class ValueFault final : public Fault {
 public:
  ValueFault(const typename F::With& with, const TargetSpec& on, const Setting& setting)
      : target_(on, setting), life_(setting), fault_(with, target_) {}

  std::string mechanism() const override { return fault_.mechanism(); }
  std::vector<std::string> targets() const override { return fault_.targets(); }
  std::vector<std::string> claims() const override { return fault_.claims(); }
  Reach reach() const override { return fault_.reach(); }
  std::vector<std::string> limits() const override {
    if constexpr (requires { fault_.limits(); })
      return fault_.limits();
    else
      return {};
  }
  void apply(Transaction& host) override { fault_.apply(host); }
  void started() override {
    if constexpr (requires { fault_.started(life_); }) fault_.started(life_);
  }
  void set_level(double level) override {
    if constexpr (requires { fault_.set_level(level); }) fault_.set_level(level);
  }
  Dose measure() override {
    if (over_) return *over_;
    Dose dose;
    fault_.measure(dose);
    return dose;
  }
  std::vector<FaultEvent> events() override { return life_.take_events(); }
  void stopping() override {
    if (!over_) over_ = measure();
    life_.end();
    if constexpr (requires { fault_.stopping(); }) fault_.stopping();
  }

 private:
  Target target_;
  Life life_;
  F fault_;
  std::optional<Dose> over_;
};

template <class F>
std::unique_ptr<Fault> prepare_value(const Value& value, const TargetSpec& on, const Setting& setting,
                                     Diagnostics& diagnostics) {
  typename F::With with;
  if (!F::parameters().decode(value, with, diagnostics)) return nullptr;
  try {
    return std::make_unique<ValueFault<F>>(with, on, setting);
  } catch (const Unfit& e) {
    diagnostics.error({}, e.what());
    return nullptr;
  }
}

// The rest of a catalogue entry that gives its name, sentence, aims, undo, examples and doctor.
template <class F>
FaultType fault(FaultType type) {
  type.parameters = &F::parameters();
  type.prepare = prepare_value<F>;
  return type;
}

}  // namespace squall::faults
