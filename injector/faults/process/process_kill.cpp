// Kills processes through pidfds (pidfd_send_signal(2)), so that a pid that was used again is never hit.
// Measured: who died and when, and when a successor came back and listened again.
#include "injector/faults/process/process_kill.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <random>
#include <set>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "injector/faults/aim/selected.hpp"
#include "injector/faults/process/killed_units.hpp"
#include "injector/faults/process/killed_watch.hpp"
#include "injector/system/host_text.hpp"
#include "injector/system/process.hpp"

namespace squall {

namespace faults {
enum class Signal : int {
  term = SIGTERM,
  kill = SIGKILL,
  interrupt = SIGINT,
  quit = SIGQUIT,
  abort = SIGABRT,
  hangup = SIGHUP,
  segv = SIGSEGV
};
}

template <>
struct EnumNames<faults::Signal> {
  using S = faults::Signal;
  static constexpr std::array<std::pair<std::string_view, S>, 14> names{{{"SIGKILL", S::kill},
                                                                         {"SIGTERM", S::term},
                                                                         {"SIGINT", S::interrupt},
                                                                         {"SIGQUIT", S::quit},
                                                                         {"SIGABRT", S::abort},
                                                                         {"SIGHUP", S::hangup},
                                                                         {"SIGSEGV", S::segv},
                                                                         {"KILL", S::kill},
                                                                         {"TERM", S::term},
                                                                         {"INT", S::interrupt},
                                                                         {"QUIT", S::quit},
                                                                         {"ABRT", S::abort},
                                                                         {"HUP", S::hangup},
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
            .optional("count", &ProcessKill::count, "how many of the matching processes, picked by the seed",
                      "1")
            .optional("every", &ProcessKill::every, "again and again in this rhythm, as long as it lasts")
            .between(&ProcessKill::every, Duration{100'000'000}, Duration{86'400'000'000'000})
            .optional("grace", &ProcessKill::grace,
                      "SIGTERM first; the signal only to those that live on after this")
            .between(&ProcessKill::grace, Duration{1'000'000}, Duration{3'600'000'000'000});
    return schema;
  }
};

namespace faults {
namespace {

namespace asio = boost::asio;

class Kill : public Fault {
 public:
  Kill(const ProcessKill& with, const TargetSpec& on, std::vector<Process> found, const Setting& setting)
      : with_(with),
        on_(on),
        setting_(setting),
        random_(setting.seed),
        found_(std::move(found)),
        units_(units_of(found_)),
        watch_(on, setting, found_) {
    pick();
  }

  std::string mechanism() const override { return "pidfd_send_signal"; }

  std::vector<std::string> targets() const override {
    std::vector<std::string> out;
    for (auto& process : picked_)
      out.push_back(process.to_string());
    return out;
  }

  std::vector<std::string> limits() const override {
    std::vector<std::string> out{fmt::format(
        "{} of {} matching processes; whether a successor answers is seen {}", picked_.size(), found_.size(),
        on_.listens_on ? "by its listening on the port again" : "only by its being there")};
    for (auto& unit : units_)
      if (auto text = used_up(unit, with_.every); !text.empty()) out.push_back(std::move(text));
    return out;
  }

  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto& process : picked_)
      out.push_back(fmt::format("process {}", process.to_string()));
    return out;
  }

  Reach reach() const override { return {.processes = picked_, .cgroups = {}, .devices = {}, .disks = {}}; }

  void apply(Transaction& transaction) override {
    for (auto& unit : units_)
      transaction.add(watch_unit(unit));
    for (auto& process : picked_) {
      Change change;
      change.what =
          fmt::format("send {} to {}", with_.grace ? "SIGTERM, then " + signal_name() : signal_name(),
                      process.to_string());
      change.undo_note = "a killed process does not come back by itself; whoever supervises it has to";
      change.act = [this, process] { strike(process); };
      transaction.add(std::move(change));
    }
  }

  void started() override {
    watch_.start();
    if (with_.every) repeat();
  }

  void stopping() override {
    stopped_ = true;
    watch_.stop();
    repeat_.reset();
    force_.clear();
  }

  Dose measure() override {
    watch_.notice_deaths();
    auto& victims = watch_.victims();
    Dose dose;
    dose.prescribed = {{"processes", victims.size()}, {"signal", signal_name()}};
    if (with_.every) dose.prescribed["every_s"] = with_.every->seconds();
    std::size_t died = 0;
    std::int64_t first_death = 0;
    boost::json::array pids;
    for (auto& victim : victims) {
      if (!victim->died) continue;
      if (++died == 1) first_death = victim->died - victim->signalled;
      pids.push_back(victim->process.pid);
    }
    dose.measured = {{"died", died}, {"pids", std::move(pids)}};
    watch_.tell_returns(dose);
    if (died) dose.measured["died_after_ms"] = static_cast<double>(first_death) / 1e6;
    dose.samples = victims.size();
    dose.verified = !victims.empty() && died == victims.size();
    if (!dose.verified)
      dose.reason = victims.empty() ? "no process was there to be killed"
                                    : fmt::format("{} of {} processes live on after {}",
                                                  victims.size() - died, victims.size(), signal_name());
    return dose;
  }

  std::vector<FaultEvent> events() override {
    auto out = watch_.take_events();
    for (auto& event : std::exchange(events_, {}))
      out.push_back(std::move(event));
    return out;
  }

 private:
  std::string signal_name() const { return enum_text(with_.signal); }

  void pick() {
    picked_ = found_;
    for (std::size_t i = 0; i + 1 < picked_.size(); ++i)
      std::swap(picked_[i], picked_[i + random_() % (picked_.size() - i)]);
    picked_.resize(static_cast<std::size_t>(with_.count.of(static_cast<std::int64_t>(picked_.size()))));
    std::sort(picked_.begin(), picked_.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  }

  void strike(const Process& process) {
    auto pidfd = open_process(process.pid, process.start_ticks);
    if (!pidfd) throw std::runtime_error("it is gone already");
    // A pid says who it was as it was looked up; by now it may have become another program.
    if (const auto now = read_process(process.pid); now && !setting_.permits(*now))
      throw std::runtime_error("it is protected on this host by now");
    watch_.listen();
    const auto signalled = monotonic_ns();
    if (const int error = signal_process(pidfd, with_.grace ? SIGTERM : static_cast<int>(with_.signal)))
      throw std::runtime_error(std::strerror(error));
    auto& victim = watch_.add(process, std::move(pidfd), signalled);
    if (with_.grace && setting_.io) force(victim);
  }

  // Those that live on after the grace get the signal that leaves no choice.
  void force(Victim& victim) {
    auto& timer =
        force_.emplace_back(std::make_unique<asio::steady_timer>(*setting_.io, with_.grace->chrono()));
    timer->async_wait([this, &victim, alive = std::weak_ptr<bool>(alive_)](auto error) {
      if (!error && !alive.expired() && !victim.died)
        signal_process(victim.pidfd, static_cast<int>(with_.signal));
    });
  }

  void repeat() {
    if (!setting_.io || stopped_) return;
    repeat_ = std::make_unique<asio::steady_timer>(*setting_.io, with_.every->chrono());
    repeat_->async_wait([this, alive = std::weak_ptr<bool>(alive_)](auto error) {
      if (error || alive.expired() || stopped_) return;
      strike_again();
      repeat();
    });
  }

  void strike_again() {
    const auto selected = watch_.look();
    if (!selected) return;
    for (auto& spared : selected->spared)
      if (spared_.emplace(spared.pid, spared.start_ticks).second)
        events_.push_back({"process.spared",
                           wall_ns(),
                           {{"pid", spared.pid},
                            {"name", printable(spared.name)},
                            {"why", "it is protected on this host"}}});
    found_ = selected->processes;
    pick();
    for (auto& process : picked_)
      try {
        strike(process);
      } catch (const std::exception&) {
        // It ended by itself between the look and the signal, or is protected by now.
      }
  }

  ProcessKill with_;
  TargetSpec on_;
  Setting setting_;
  std::mt19937_64 random_;
  std::vector<Process> found_, picked_;
  std::vector<systemd::Unit> units_;
  KilledWatch watch_;
  std::set<std::pair<pid_t, std::uint64_t>> spared_;
  std::vector<FaultEvent> events_;
  std::unique_ptr<asio::steady_timer> repeat_;
  std::vector<std::unique_ptr<asio::steady_timer>> force_;
  bool stopped_ = false;
  // A handler that is queued already is called although its timer is gone, and this fault with it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::unique_ptr<Fault> prepare(const Value& with, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  ProcessKill parameters;
  if (!Codec<ProcessKill>::decode(with, parameters, diagnostics)) return nullptr;
  if (!on.selects_processes()) {
    diagnostics.error({},
                      "expected a process selector, such as exe, command, listens_on, pid or unit; got none");
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
    .undo =
        "cannot be undone: a killed process comes back only if somebody supervises it, and whether it does "
        "is what the drill tells",
    .examples = {"--on listens_on=6379", "signal=SIGTERM grace=5s --on unit=playlist.service",
                 "count=50% every=10s --on exe=worker --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
