#include "injector/faults/aim_watch.hpp"

#include <utility>

#include <net/if.h>

#include <fmt/format.h>

#include "injector/host/network_namespace.hpp"
#include "injector/host/process.hpp"

namespace squall::faults {

Dose doubted(Dose dose, const std::string& why) {
  dose.verified = false;
  dose.reason = dose.reason.empty() ? why : why + "; " + dose.reason;
  return dose;
}

const std::string& AimWatch::look() {
  if (lost_.empty() && device_ && !device_is_there()) lose(fmt::format("{} was found gone at {}: nothing was hit since", device_->name, time_of_day(wall_ns())));
  return lost_;
}

void AimWatch::lose(std::string what) {
  lost_ = std::move(what);
  lost_at_ = wall_ns();
}

// By its index, which the kernel gives to no other before it has run out of new ones.
bool AimWatch::device_is_there() const {
  bool there = false;
  char name[IF_NAMESIZE];
  return in_network_namespace_if_there(network_namespace_, namespace_pid_, [&] { there = ::if_indextoname(device_->index, name); }) && there;
}

std::vector<FaultEvent> AimWatch::events() {
  if (lost_.empty() || std::exchange(told_, true)) return {};
  return {{"fault.ineffective", lost_at_, {{"why", lost_}}}};
}

Dose AimWatch::in_view(Dose dose) {
  const auto& lost = look();
  return lost.empty() ? dose : doubted(std::move(dose), lost);
}

}  // namespace squall::faults
