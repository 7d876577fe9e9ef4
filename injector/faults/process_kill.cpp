// Kills processes through pidfds (pidfd_send_signal(2)), so that a pid that was used again is never hit. Measured: who
// died and when, and when a successor came back and listened again.
#include "injector/faults/process_kill.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <random>
#include <set>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "injector/faults/killed_units.hpp"
#include "injector/faults/successors.hpp"
#include "injector/host/host_text.hpp"
#include "injector/host/listeners.hpp"
#include "injector/host/process.hpp"
#include "injector/host/process_events.hpp"
#include "injector/selected.hpp"

namespace squall {

namespace faults {
enum class Signal : int { term = SIGTERM, kill = SIGKILL, interrupt = SIGINT, quit = SIGQUIT, abort = SIGABRT, hangup = SIGHUP, segv = SIGSEGV };
}

template <>
struct EnumNames<faults::Signal> {
  using S = faults::Signal;
  static constexpr std::array<std::pair<std::string_view, S>, 14> names{
      {{"SIGKILL", S::kill}, {"SIGTERM", S::term}, {"SIGINT", S::interrupt}, {"SIGQUIT", S::quit}, {"SIGABRT", S::abort}, {"SIGHUP", S::hangup},
       {"SIGSEGV", S::segv}, {"KILL", S::kill}, {"TERM", S::term}, {"INT", S::interrupt}, {"QUIT", S::quit}, {"ABRT", S::abort}, {"HUP", S::hangup},
       {"SEGV", S::segv}}};
};

namespace faults {

struct ProcessKill {
  Signal signal = Signal::kill;
  Amount count;
  std::optional<Duration> every, grace;
};

}  // namespace faults

template <>
struct Describe<faults::ProcessKill> {
  static const Object<faults::ProcessKill>& object() {
    using faults::ProcessKill;
    static const auto schema =
        Object<ProcessKill>{"ends processes by a signal"}
            .optional("signal", &ProcessKill::signal, "the signal", "SIGKILL")
            .optional("count", &ProcessKill::count, "how many of the matching processes, picked by the seed", "1")
            .optional("every", &ProcessKill::every, "again and again in this rhythm, as long as it lasts")
            .between(&ProcessKill::every, Duration{100'000'000}, Duration{86'400'000'000'000})
            .optional("grace", &ProcessKill::grace, "SIGTERM first; the signal only to those that live on after this")
            .between(&ProcessKill::grace, Duration{1'000'000}, Duration{3'600'000'000'000});
    return schema;
  }
};

namespace faults {
namespace {

namespace asio = boost::asio;

struct Victim {
  Process process;
  Fd pidfd;
  std::int64_t signalled = 0, died = 0;  // CLOCK_MONOTONIC, ns; 0: not (yet)
  std::int64_t exited = 0;               // its last thread so far, as the kernel told
  std::unique_ptr<asio::posix::stream_descriptor> watch;
};

double ms(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

class Kill : public Fault {
 public:
  Kill(const ProcessKill& with, const TargetSpec& on, std::vector<Process> found, const Setting& setting)
      : with_(with), on_(on), setting_(setting), random_(setting.seed), found_(std::move(found)), units_(units_of(found_)) {
    successors_.know(found_);
    pick();
  }

  std::string mechanism() const override { return "pidfd_send_signal"; }

  std::vector<std::string> targets() const override {
    std::vector<std::string> out;
    for (auto& process : picked_) out.push_back(process.to_string());
    return out;
  }

  std::vector<std::string> limits() const override {
    std::vector<std::string> out{fmt::format("{} of {} matching processes; whether a successor answers is seen {}", picked_.size(), found_.size(),
                                             on_.listens_on ? "by its listening on the port again" : "only by its being there")};
    for (auto& unit : units_)
      if (auto text = used_up(unit, with_.every); !text.empty()) out.push_back(std::move(text));
    return out;
  }

  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto& process : picked_) out.push_back(fmt::format("process {}", process.to_string()));
    return out;
  }

  Reach reach() const override { return {.processes = picked_, .cgroups = {}, .devices = {}, .disks = {}}; }

  void apply(Transaction& transaction) override {
    for (auto& unit : units_) transaction.add(watch_unit(unit));
    for (auto& process : picked_) {
      Change change;
      change.what = fmt::format("send {} to {}", with_.grace ? "SIGTERM, then " + signal_name() : signal_name(), process.to_string());
      change.undo_note = "a killed process does not come back by itself; whoever supervises it has to";
      change.act = [this, process] { strike(process); };
      transaction.add(std::move(change));
    }
  }

  void started() override {
    if (!setting_.io) return;
    looked_ = monotonic_ns();
    if (with_.every) repeat();
    look_for_successors();
  }

  void stopping() override {
    stopped_ = true;
    arrivals_.reset();
    repeat_.reset();
    look_.reset();
    force_.clear();
  }

  Dose measure() override {
    notice_deaths();
    Dose dose;
    dose.prescribed = {{"processes", struck_}, {"signal", signal_name()}};
    if (with_.every) dose.prescribed["every_s"] = with_.every->seconds();
    std::int64_t died = 0, first_death = 0;
    boost::json::array pids;
    for (auto& victim : victims_) {
      if (!victim->died) continue;
      if (++died == 1) first_death = victim->died - victim->signalled;
      pids.push_back(victim->process.pid);
    }
    dose.measured = {{"died", died}, {"pids", std::move(pids)}, {"successors", successors_.pairs().size()}};
    if (died) dose.measured["died_after_ms"] = ms(first_death);
    tell_returns(dose);
    dose.samples = static_cast<std::uint64_t>(victims_.size());
    dose.verified = struck_ > 0 && died == static_cast<std::int64_t>(victims_.size());
    if (!dose.verified)
      dose.reason = victims_.empty() ? "no process was there to be killed"
                                     : fmt::format("{} of {} processes live on after {}", static_cast<std::int64_t>(victims_.size()) - died, victims_.size(), signal_name());
    return dose;
  }

  std::vector<FaultEvent> events() override {
    notice_deaths();
    return std::exchange(events_, {});
  }

 private:
  // A handler that is queued already is called although its timer is gone, and this fault with it.
  std::weak_ptr<bool> watch() const { return alive_; }

  std::string signal_name() const { return enum_text(with_.signal); }

  // The longest of them, as it is known: "returned_within_ms" says by how much it may have been less.
  void tell_returns(Dose& dose) const {
    auto& pairs = successors_.pairs();
    const auto last = std::max_element(pairs.begin(), pairs.end(), [](auto& a, auto& b) { return a.after_ns < b.after_ns; });
    if (last == pairs.end()) return;
    dose.measured["returned_after_ms"] = ms(last->after_ns);
    if (last->within_ns > exact_ns) dose.measured["returned_within_ms"] = ms(last->within_ns);
  }

  void pick() {
    picked_ = found_;
    for (std::size_t i = 0; i + 1 < picked_.size(); ++i) std::swap(picked_[i], picked_[i + random_() % (picked_.size() - i)]);
    picked_.resize(static_cast<std::size_t>(with_.count.of(static_cast<std::int64_t>(picked_.size()))));
    std::sort(picked_.begin(), picked_.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  }

  void strike(const Process& process) {
    auto victim = std::make_unique<Victim>();
    victim->process = process;
    victim->pidfd = open_process(process.pid, process.start_ticks);
    if (!victim->pidfd) throw std::runtime_error("it is gone already");
    // A pid says who it was as it was looked up; by now it may have become another program.
    if (const auto now = read_process(process.pid); now && !setting_.permits(*now)) throw std::runtime_error("it is protected on this host by now");
    if (setting_.io && !arrivals_)
      arrivals_ = std::make_unique<ProcessEvents>(*setting_.io, [this](auto what, pid_t pid, std::int64_t at) { note(what, pid, at); });
    victim->signalled = monotonic_ns();
    const int signal = with_.grace ? SIGTERM : static_cast<int>(with_.signal);
    if (const int error = signal_process(victim->pidfd, signal)) throw std::runtime_error(std::strerror(error));
    ++struck_;
    if (setting_.io) {
      victim->watch = std::make_unique<asio::posix::stream_descriptor>(*setting_.io, ::dup(victim->pidfd.get()));
      victim->watch->async_wait(asio::posix::stream_descriptor::wait_read, [this, raw = victim.get(), alive = watch()](auto error) {
        if (!error && !alive.expired()) note_death(*raw);
      });
      if (with_.grace) force(*victim);
    }
    victims_.push_back(std::move(victim));
  }

  // Those that live on after the grace get the signal that leaves no choice.
  void force(Victim& victim) {
    auto& timer = force_.emplace_back(std::make_unique<asio::steady_timer>(*setting_.io, with_.grace->chrono()));
    timer->async_wait([this, raw = &victim, alive = watch()](auto error) {
      if (!error && !alive.expired() && !raw->died) signal_process(raw->pidfd, static_cast<int>(with_.signal));
    });
  }

  void note_death(Victim& victim) {
    if (victim.died) return;
    if (arrivals_) arrivals_->catch_up();
    victim.died = victim.exited ? victim.exited : monotonic_ns();
    successors_.died(victim.process, victim.signalled, victim.died);
    // Who comes now has not been there at the last look.
    looked_ = std::max(looked_, victim.died);
    events_.push_back({"process.died", wall_ns() - monotonic_ns() + victim.died, {{"pid", victim.process.pid}, {"name", printable(victim.process.name)}, {"after_ms", ms(victim.died - victim.signalled)}}});
    if (look_) look_again_in(first_look);
  }

  void notice_deaths() {
    for (auto& victim : victims_)
      if (!victim->died && wait_for_end(victim->pidfd, 0)) note_death(*victim);
  }

  void repeat() {
    if (stopped_) return;
    repeat_ = std::make_unique<asio::steady_timer>(*setting_.io, with_.every->chrono());
    repeat_->async_wait([this, alive = watch()](auto error) {
      if (error || alive.expired() || stopped_) return;
      strike_again();
      repeat();
    });
  }

  void strike_again() {
    notice_deaths();
    const auto selected = look();
    if (!selected) return;
    for (auto& spared : selected->spared)
      if (spared_.emplace(spared.pid, spared.start_ticks).second)
        events_.push_back({"process.spared", wall_ns(), {{"pid", spared.pid}, {"name", printable(spared.name)}, {"why", "it is protected on this host"}}});
    found_ = selected->processes;
    pick();
    for (auto& process : picked_) try {
        strike(process);
      } catch (const std::exception&) {
        // It ended by itself between the look and the signal, or is protected by now.
      }
  }

  // Everybody who is selected now; who is new among them stands in for one that died.
  // `listens`: somebody was seen to listen on the port just before.
  tl::expected<Selected, std::string> look(bool listens = false) {
    const auto before = looked_, now = monotonic_ns();
    auto selected = select_processes(on_, setting_);
    if (!selected) return selected;
    looked_ = now;
    settle();
    for (auto& process : selected->processes)
      if (!successors_.knows(process)) came(process, {std::max(before, started_at(process)), listens ? now : monotonic_ns()});
    return selected;
  }

  static std::int64_t started_at(const Process& process) { return boot_ns_of(process.start_ticks) - boottime_ns() + monotonic_ns(); }

  void came(const Process& process, Moment when) {
    const auto pair = successors_.seen(process, when);
    if (!pair) return;
    const auto at = wall_ns() - monotonic_ns() + when.latest;
    boost::json::object told{{"pid", process.pid}, {"name", printable(process.name)}, {"instead_of", pair->victim.pid}, {"after_ms", ms(pair->after_ns)}};
    if (pair->within_ns > exact_ns) told["within_ms"] = ms(pair->within_ns);
    events_.push_back({on_.listens_on ? "process.answers" : "process.returned", at, std::move(told)});
  }

  void note(ProcessEvents::What what, pid_t pid, std::int64_t at) {
    if (what == ProcessEvents::What::begun) {
      if (arrived_.size() < most_arrivals) arrived_.emplace_back(pid, at);
      return;
    }
    for (auto& victim : victims_)
      if (victim->process.pid == pid && !victim->died) victim->exited = at;
  }

  // Those who began since, each by the moment that the kernel told; that somebody listens has to be looked for.
  void settle() {
    if (!arrivals_) return;
    notice_deaths();
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

  // Often while somebody is missed, so that the moment is known: a look at one port costs little, one at all processes more.
  void look_for_successors() {
    if (!setting_.io || stopped_) return;
    settle();
    if (successors_.missing() && (!on_.listens_on || somebody_listens())) look(on_.listens_on && found_here());
    const auto missed_for = monotonic_ns() - (victims_.empty() ? 0 : victims_.back()->died);
    const bool often = successors_.missing() && on_.listens_on && missed_for < often_for_ns;
    look_again_in(often ? first_look : std::chrono::milliseconds{100});
  }

  void look_again_in(std::chrono::milliseconds time) {
    look_ = std::make_unique<asio::steady_timer>(*setting_.io, time);
    look_->async_wait([this, alive = watch()](auto error) {
      if (!error && !alive.expired()) look_for_successors();
    });
  }

  bool found_here() const {
    return !found_.empty() && std::all_of(found_.begin(), found_.end(), [](auto& process) { return process.network_namespace == network_namespace_of(::getpid()); });
  }

  // Without this nobody of them can be found to listen; in another network namespace it is not known.
  bool somebody_listens() {
    if (!found_here()) return true;
    const auto all = listeners_around(::getpid());
    const bool listens = std::any_of(all.begin(), all.end(), [this](auto& listener) { return listener.port == *on_.listens_on; });
    if (!listens) looked_ = monotonic_ns();
    return listens;
  }

  static constexpr std::chrono::milliseconds first_look{2};
  static constexpr std::size_t most_arrivals = 10'000;  // between two looks; the others are found by the look
  static constexpr std::int64_t exact_ns = 1'000'000, often_for_ns = 10'000'000'000;

  ProcessKill with_;
  TargetSpec on_;
  Setting setting_;
  std::mt19937_64 random_;
  std::vector<Process> found_, picked_;
  std::vector<systemd::Unit> units_;
  std::vector<std::unique_ptr<Victim>> victims_;
  Successors successors_;
  std::set<std::pair<pid_t, std::uint64_t>> spared_;
  std::vector<FaultEvent> events_;
  std::unique_ptr<ProcessEvents> arrivals_;
  std::vector<std::pair<pid_t, std::int64_t>> arrived_;
  std::unique_ptr<asio::steady_timer> repeat_, look_;
  std::vector<std::unique_ptr<asio::steady_timer>> force_;
  std::int64_t struck_ = 0, looked_ = 0;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::unique_ptr<Fault> prepare(const Value& with, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  ProcessKill parameters;
  if (!Codec<ProcessKill>::decode(with, parameters, diagnostics)) return nullptr;
  if (!on.selects_processes()) {
    diagnostics.error({}, "expected a process selector, such as exe, command, listens_on, pid or unit; got none");
    return nullptr;
  }
  auto found = select_processes(on, setting);
  if (!found) {
    diagnostics.error({}, found.error());
    return nullptr;
  }
  if (found->processes.empty()) {
    diagnostics.error({}, none_selected(on, *found));
    return nullptr;
  }
  return std::make_unique<Kill>(parameters, on, std::move(found->processes), setting);
}

std::vector<Capability> doctor() {
  const auto stat = read_process_stat(::getpid());
  const bool possible = stat && open_process(::getpid(), stat->start_ticks);
  return {{.mechanism = "pidfd_send_signal",
           .possible = possible,
           .chosen = possible,
           .missing = possible ? "" : "pidfd_open(2), Linux 5.3 or later",
           .measures = "which processes died and when, and when a successor was there again"}};
}

}  // namespace

const FaultType process_kill{
    .name = "process.kill",
    .sentence = "ends processes by a signal, once or again and again",
    .parameters = &Describe<ProcessKill>::object(),
    .aims = {"exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup", "container", "user"},
    .lasting = false,
    .ramps = false,
    .undo = "cannot be undone: a killed process comes back only if somebody supervises it, and whether it does is what the drill tells",
    .examples = {"--on listens_on=6379", "signal=SIGTERM grace=5s --on unit=playlist.service", "count=50% every=10s --on exe=worker --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
