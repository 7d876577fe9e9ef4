#include "injector/faults/aim/newcomers.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/aim_watch.hpp"
#include "injector/system/network_namespace.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

// What a device says by itself as it comes up (multicast reports, router solicitations).
constexpr std::uint64_t chatter = 10;

}  // namespace

Newcomers::Newcomers(std::uint64_t network_namespace, pid_t namespace_pid,
                     const std::vector<links::Link>& known, bool both, Hit hit)
    : network_namespace_(network_namespace),
      namespace_pid_(namespace_pid),
      both_(both),
      hit_(std::move(hit)) {
  for (auto& link : known)
    known_.emplace(link.index, link.name);
  in_network_namespace_if_there(network_namespace_, namespace_pid_, [&] {
    for (auto& link : links::all())
      if (!known_.contains(link.index)) before_[link.index] = carried_by(link.index);
  });
}

std::uint64_t Newcomers::carried_by(std::uint32_t index) const {
  const auto traffic = links::traffic(index);
  return traffic.sent + (both_ ? traffic.received : 0);
}

bool Newcomers::is_known(const links::Link& link) const {
  const auto found = known_.find(link.index);
  return found != known_.end() && (both_ || found->second == link.name);
}

// What belongs to a bridge or a bond passes that as well. Devices of ours and of other faults carry what they
// are led.
void Newcomers::look() {
  in_network_namespace_if_there(network_namespace_, namespace_pid_, [&] {
    for (auto& link : links::all()) {
      if (is_known(link) || link.loopback || link.master || !link.up || link.alias.starts_with("squall ") ||
          (hit_ && hit_(link.name)))
        continue;
      auto [at, fresh] = new_.try_emplace(link.index);
      if (fresh) at->second = {link.name, wall_ns()};
      if (fresh && known_.contains(link.index)) before_[link.index] = carried_by(link.index);
      const auto before = before_.find(link.index);
      const auto now = carried_by(link.index) - (before == before_.end() ? 0 : before->second);
      at->second.carried = std::max(at->second.carried, now);
    }
  });
}

Dose Newcomers::in_view(Dose dose) {
  look();
  std::uint64_t carried = 0;
  std::vector<std::string> names;
  for (auto& [index, one] : new_) {
    if (one.carried <= chatter) continue;
    carried += one.carried;
    names.push_back(one.name);
  }
  if (!carried) return dose;
  dose.measured["packets_by_new_interfaces"] = carried;
  if (carried * 20 <= dose.samples) return dose;
  return doubted(
      std::move(dose),
      fmt::format(
          "{} packets went by {}, which came up, or was renamed, since the fault began and is left as it is",
          carried, fmt::join(names, ", ")));
}

void Newcomers::tell(std::vector<FaultEvent>& events) {
  for (auto& [index, one] : new_)
    if (one.carried > chatter && !std::exchange(one.told, true))
      events.push_back(
          {"fault.passed_by",
           one.found_at,
           {{"why",
             fmt::format(
                 "{} came up, or got that name, after the fault began: what leaves by it is left as it is",
                 one.name)}}});
}

}  // namespace squall::faults
