#include "injector/faults/process/killed_watch.hpp"

#include <algorithm>

#include <unistd.h>

#include "injector/system/host_text.hpp"
#include "injector/system/listeners.hpp"

namespace squall::faults {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// A look at one port costs little, one at all processes more.
constexpr auto often = 2ms, seldom = 100ms;
constexpr std::int64_t often_for_ns = 10'000'000'000;
constexpr std::int64_t exact_ns = 1'000'000;
// Between two looks; whoever is not noted is found by the look itself.
constexpr std::size_t most_arrivals = 10'000;

double ms(std::int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

std::int64_t started_at(const Process& process) {
  return boot_ns_of(process.start_ticks) - boottime_ns() + monotonic_ns();
}

std::int64_t wall_time_of(std::int64_t monotonic) {
  return wall_ns() - monotonic_ns() + monotonic;
}

}  // namespace

KilledWatch::KilledWatch(const TargetSpec& on, const Setting& setting, const std::vector<Process>& there)
    : on_(on), setting_(setting) {
  successors_.know(there);
  const auto own = network_namespace_of(::getpid());
  here_ = std::all_of(there.begin(), there.end(),
                      [&](auto& process) { return process.network_namespace == own; });
}

void KilledWatch::listen() {
  if (setting_.io && !arrivals_)
    arrivals_ = std::make_unique<ProcessEvents>(
        *setting_.io, [this](auto what, pid_t pid, std::int64_t at) { note(what, pid, at); });
}

Victim& KilledWatch::add(const Process& process, Fd pidfd, std::int64_t signalled) {
  auto& victim = *victims_.emplace_back(std::make_unique<Victim>());
  victim.process = process;
  victim.pidfd = std::move(pidfd);
  victim.signalled = signalled;
  if (!setting_.io) return victim;
  victim.end = std::make_unique<asio::posix::stream_descriptor>(*setting_.io, ::dup(victim.pidfd.get()));
  victim.end->async_wait(asio::posix::stream_descriptor::wait_read,
                         [this, &victim, alive = std::weak_ptr<bool>(alive_)](auto error) {
                           if (!error && !alive.expired()) note_death(victim);
                         });
  return victim;
}

void KilledWatch::start() {
  if (!setting_.io) return;
  looked_ = monotonic_ns();
  look_for_successors();
}

void KilledWatch::stop() {
  stopped_ = true;
  arrivals_.reset();
  look_.reset();
}

void KilledWatch::note(ProcessEvents::What what, pid_t pid, std::int64_t at) {
  if (what == ProcessEvents::What::begun) {
    if (arrived_.size() < most_arrivals) arrived_.emplace_back(pid, at);
    return;
  }
  for (auto& victim : victims_)
    if (victim->process.pid == pid && !victim->died) victim->exited = at;
}

void KilledWatch::note_death(Victim& victim) {
  if (victim.died) return;
  if (arrivals_) arrivals_->catch_up();
  victim.died = victim.exited ? victim.exited : monotonic_ns();
  successors_.died(victim.process, victim.signalled, victim.died);
  // Who comes now has not been there at the last look.
  looked_ = std::max(looked_, victim.died);
  events_.push_back({"process.died",
                     wall_time_of(victim.died),
                     {{"pid", victim.process.pid},
                      {"name", printable(victim.process.name)},
                      {"after_ms", ms(victim.died - victim.signalled)}}});
  if (look_) look_again_in(often);
}

void KilledWatch::notice_deaths() {
  for (auto& victim : victims_)
    if (!victim->died && wait_for_end(victim->pidfd, 0)) note_death(*victim);
}

// Those who began since, each by the moment that the kernel told; that somebody listens has to be looked for.
void KilledWatch::settle() {
  notice_deaths();
  if (!arrivals_) return;
  arrivals_->catch_up();
  const auto arrived = std::exchange(arrived_, {});
  if (!successors_.missing() || on_.listens_on) return;
  for (auto [pid, at] : arrived) {
    auto one = on_;
    if (!on_.pidfile && !on_.pid) one.pid = pid;
    const auto selected = select_processes(one, setting_);
    if (!selected) continue;
    for (auto& process : selected->processes)
      if (process.pid == pid) came(process, {at, at});
  }
}

tl::expected<Selected, std::string> KilledWatch::look(bool listens) {
  const auto before = looked_, now = monotonic_ns();
  auto selected = select_processes(on_, setting_);
  if (!selected) return selected;
  looked_ = now;
  settle();
  for (auto& process : selected->processes)
    if (!successors_.knows(process))
      came(process, {std::max(before, started_at(process)), listens ? now : monotonic_ns()});
  return selected;
}

void KilledWatch::came(const Process& process, Moment when) {
  const auto pair = successors_.seen(process, when);
  if (!pair) return;
  boost::json::object told{{"pid", process.pid},
                           {"name", printable(process.name)},
                           {"instead_of", pair->victim.pid},
                           {"after_ms", ms(pair->after_ns)}};
  if (pair->within_ns > exact_ns) told["within_ms"] = ms(pair->within_ns);
  events_.push_back(
      {on_.listens_on ? "process.answers" : "process.returned", wall_time_of(when.latest), std::move(told)});
}

void KilledWatch::look_for_successors() {
  if (stopped_) return;
  settle();
  if (successors_.missing() && (!on_.listens_on || somebody_listens())) look(on_.listens_on && here_);
  const auto missed_for = monotonic_ns() - (victims_.empty() ? 0 : victims_.back()->died);
  look_again_in(successors_.missing() && on_.listens_on && missed_for < often_for_ns ? often : seldom);
}

void KilledWatch::look_again_in(std::chrono::milliseconds time) {
  look_ = std::make_unique<asio::steady_timer>(*setting_.io, time);
  look_->async_wait([this, alive = std::weak_ptr<bool>(alive_)](auto error) {
    if (!error && !alive.expired()) look_for_successors();
  });
}

// Without this nobody of them can be found to listen; in another network namespace it is not known.
bool KilledWatch::somebody_listens() {
  if (!here_) return true;
  const auto all = listeners_around(::getpid());
  const bool listens = std::any_of(all.begin(), all.end(),
                                   [this](auto& listener) { return listener.port == *on_.listens_on; });
  if (!listens) looked_ = monotonic_ns();
  return listens;
}

void KilledWatch::tell_returns(Dose& dose) const {
  auto& pairs = successors_.pairs();
  const auto last =
      std::max_element(pairs.begin(), pairs.end(), [](auto& a, auto& b) { return a.after_ns < b.after_ns; });
  dose.measured["successors"] = pairs.size();
  if (last == pairs.end()) return;
  dose.measured["returned_after_ms"] = ms(last->after_ns);
  if (last->within_ns > exact_ns) dose.measured["returned_within_ms"] = ms(last->within_ns);
}

std::vector<FaultEvent> KilledWatch::take_events() {
  notice_deaths();
  return std::exchange(events_, {});
}

}  // namespace squall::faults
