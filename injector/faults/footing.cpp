#include "injector/faults/footing.hpp"

#include <utility>

#include <fmt/format.h>

#include "injector/host/process.hpp"

namespace squall::faults {

void Footing::add(std::function<std::string()> look) { looks_.push_back(std::move(look)); }

void Footing::begin() {
  in_force_ = true;
  since_ = monotonic_ns();
}

std::int64_t Footing::age() const { return in_force_ ? monotonic_ns() - since_ : 0; }

void Footing::end() {
  look();
  in_force_ = false;
}

void Footing::look() {
  if (!in_force_) return;
  std::erase_if(looks_, [&](auto& look) {
    auto wrong = look();
    if (wrong.empty()) return false;
    const auto now = wall_ns();
    wrong_.push_back(fmt::format("{}, found at {}", wrong, time_of_day(now)));
    found_at_.push_back(now);
    return true;
  });
}

void Footing::tell(std::vector<FaultEvent>& events) {
  for (; told_ < wrong_.size(); ++told_) events.push_back({"fault.ineffective", found_at_[told_], {{"why", wrong_[told_]}}});
}

}  // namespace squall::faults
