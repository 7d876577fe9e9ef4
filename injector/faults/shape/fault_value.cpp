#include "injector/faults/shape/fault_value.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

namespace squall {

void Dose::expect_number(std::string_view name, double wanted, double seen, double tolerance) {
  // Whole numbers are written as such.
  const auto number = [](double value) {
    return value == std::floor(value) && std::abs(value) < 1e15
               ? boost::json::value(static_cast<std::int64_t>(value))
               : boost::json::value(value);
  };
  const bool first = prescribed.empty();
  prescribed[name] = number(wanted);
  measured[name] = number(seen);
  const bool holds = std::abs(seen - wanted) <= std::abs(wanted) * tolerance + 1e-9;
  verified = holds && (first || verified);
  if (holds) return;
  const auto what = fmt::format("{}: {} prescribed, {} measured", name,
                                boost::json::serialize(number(wanted)), boost::json::serialize(number(seen)));
  reason += (reason.empty() ? "" : "; ") + what;
}

void Dose::doubt(std::string why) {
  verified = false;
  reason = reason.empty() ? std::move(why) : reason + "; " + why;
}

namespace faults {

std::vector<Capability> examine(const FaultInfo& info) {
  const auto missing = info.missing();
  return {{.mechanism = std::string(info.mechanism),
           .possible = missing.empty(),
           .chosen = missing.empty(),
           .missing = missing,
           .note = "",
           .measures = std::string(info.measures)}};
}

std::unique_ptr<Fault> make_or_tell(Diagnostics& diagnostics,
                                    const std::function<std::unique_ptr<Fault>()>& make) {
  try {
    return make();
  } catch (const Unfit& wrong) {
    diagnostics.error(wrong.place, wrong.what());
    return nullptr;
  }
}

FaultType type_of(const FaultInfo& info, const ObjectSchema* parameters) {
  FaultType out;
  out.name = info.name;
  out.sentence = info.sentence;
  out.parameters = parameters;
  out.aims = info.aims;
  out.lasting = !info.instantaneous;
  out.together = info.together;
  out.undo = info.undo;
  out.examples = info.examples;
  out.doctor = [info] { return examine(info); };
  return out;
}

std::string needs_root() {
  return ::geteuid() == 0 ? "" : "root";
}

}  // namespace faults
}  // namespace squall
