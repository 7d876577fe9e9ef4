#include "injector/faults/aim/footing.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "injector/system/process.hpp"

namespace squall::faults {

namespace {
// Events and the dose are asked for one after the other.
constexpr std::int64_t one_moment_ns = 10'000'000;
}  // namespace

void Footing::add(std::function<std::string()> look, std::int64_t every_ns) {
  looks_.push_back({std::move(look), std::max(every_ns, one_moment_ns)});
}

void Footing::begin() {
  in_force_ = true;
  since_ = monotonic_ns();
}

std::int64_t Footing::age() const {
  return in_force_ ? monotonic_ns() - since_ : 0;
}

void Footing::end() {
  if (in_force_) look_at_all(true);
  in_force_ = false;
}

void Footing::look() {
  if (in_force_) look_at_all(false);
}

void Footing::look_at_all(bool at_once) {
  std::erase_if(looks_, [&](auto& one) {
    if (!at_once && monotonic_ns() < one.next) return false;
    one.next = monotonic_ns() + one.every_ns;
    auto wrong = one.look();
    if (wrong.empty()) return false;
    const auto now = wall_ns();
    wrong_.push_back(fmt::format("{}, found at {}", wrong, time_of_day(now)));
    found_at_.push_back(now);
    return true;
  });
}

void Footing::tell(std::vector<FaultEvent>& events) {
  for (; told_ < wrong_.size(); ++told_)
    events.push_back({"fault.ineffective", found_at_[told_], {{"why", wrong_[told_]}}});
}

}  // namespace squall::faults
