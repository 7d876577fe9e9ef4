#include "injector/faults/aim/aim_watch.hpp"

#include <algorithm>
#include <utility>

#include <net/if.h>

#include <fmt/format.h>

#include "injector/system/network_namespace.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

// A search looks at every process of the host.
constexpr std::int64_t search_ns = 1'000'000'000;
// Whoever starts a process in a container puts it in the cgroup first and in the namespace a moment later.
constexpr std::int64_t settled_ns = 500'000'000;

}  // namespace

Dose doubted(Dose dose, const std::string& why) {
  dose.verified = false;
  dose.reason = dose.reason.empty() ? why : why + "; " + dose.reason;
  return dose;
}

std::string gone_rules(const std::string& which) {
  return which.empty() ? "" : fmt::format("{} is gone: nothing was hit since", which);
}

void AimWatch::Loss::set(std::string what) {
  why = std::move(what);
  at = wall_ns();
}

AimWatch::AimWatch(std::uint64_t network_namespace, pid_t namespace_pid)
    : network_namespace_(network_namespace),
      namespace_pid_(namespace_pid),
      cookie_(namespace_pid ? network_namespace_cookie(network_namespace, namespace_pid) : 0) {}

void AimWatch::expect(const TargetSpec& target, const std::vector<Process>& processes) {
  target_ = target;
  for (auto& process : processes)
    pids_.push_back(process.pid);
}

bool AimWatch::namespace_is_there() const {
  return cookie_ == 0 || network_namespace_cookie(network_namespace_, namespace_pid_) == cookie_;
}

const std::string& AimWatch::device_gone() {
  if (gone_.why.empty() && device_)
    if (const auto what = look_for_device(); !what.empty())
      gone_.set(fmt::format("{} at {}: nothing was hit since", what, time_of_day(wall_ns())));
  return gone_.why;
}

// By its index, which the kernel gives to no other before it has run out of new ones.
std::string AimWatch::look_for_device() const {
  char name[IF_NAMESIZE] = "";
  const bool there =
      namespace_is_there() && in_network_namespace_if_there(network_namespace_, namespace_pid_, [&] {
        if (!::if_indextoname(device_->index, name)) name[0] = 0;
      });
  if (!there || !name[0]) return device_->name + " was found gone";
  return named_ && device_->name != name ? fmt::format("{} was found renamed to {}", device_->name, name)
                                         : "";
}

const std::string& AimWatch::escaped() {
  if (!escaped_.why.empty() || !target_ || all_are_in_place() || monotonic_ns() < next_search_)
    return escaped_.why;
  next_search_ = monotonic_ns() + search_ns;
  look_for_processes();
  return escaped_.why;
}

bool AimWatch::all_are_in_place() const {
  return !pids_.empty() && std::all_of(pids_.begin(), pids_.end(), [&](pid_t pid) {
    return network_namespace_of(pid) == network_namespace_;
  });
}

void AimWatch::look_for_processes() {
  pids_.clear();
  const auto found = find_processes(*target_);
  if (!found) return;
  const bool there = namespace_is_there();
  for (auto& process : *found) {
    const auto started = boot_ns_of(process.start_ticks);
    if (there && process.network_namespace == network_namespace_)
      pids_.push_back(process.pid);
    else if (process.network_namespace && boottime_ns() - started >= settled_ns)
      return escaped_.set(fmt::format(
          "{}, started at {}, is in another network namespace than the one that is acted in, and is not hit",
          process.to_string(), time_of_day(wall_ns() - boottime_ns() + started)));
    else
      next_search_ = 0;
  }
}

std::vector<FaultEvent> AimWatch::events() {
  std::vector<FaultEvent> out;
  footing_.look();
  device_gone();
  for (auto* loss : {&gone_, &escaped_})
    if (!loss->why.empty() && !std::exchange(loss->told, true))
      out.push_back({"fault.ineffective", loss->at, {{"why", loss->why}}});
  footing_.tell(out);
  return out;
}

Dose AimWatch::in_view(Dose dose) {
  footing_.look();
  for (auto& wrong : footing_.wrong())
    dose = doubted(std::move(dose), wrong);
  if (!escaped().empty()) dose = doubted(std::move(dose), escaped());
  if (!device_gone().empty()) dose = doubted(std::move(dose), device_gone());
  return dose;
}

}  // namespace squall::faults
