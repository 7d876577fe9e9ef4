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

#include "injector/host/process.hpp"
#include "injector/targets.hpp"

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
  std::int64_t signalled = 0, died = 0, returned = 0, answered = 0;  // CLOCK_MONOTONIC, ns; 0: not (yet)
  std::unique_ptr<asio::posix::stream_descriptor> watch;
};

class Kill : public Fault, public std::enable_shared_from_this<Kill> {
 public:
  Kill(const ProcessKill& with, const TargetSpec& on, std::vector<Process> found, const Setting& setting)
      : with_(with), on_(on), setting_(setting), random_(setting.seed), found_(std::move(found)) {
    pick();
  }

  std::string mechanism() const override { return "pidfd_send_signal"; }

  std::vector<std::string> targets() const override {
    std::vector<std::string> out;
    for (auto& process : picked_) out.push_back(process.to_string());
    return out;
  }

  std::vector<std::string> limits() const override {
    return {fmt::format("{} of {} matching processes; whether a successor answers is seen {}", picked_.size(), found_.size(),
                        on_.listens_on ? "by its listening on the port again" : "only by its being there")};
  }

  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto& process : picked_) out.push_back(fmt::format("process {}", process.to_string()));
    return out;
  }

  void apply(Transaction& transaction) override {
    for (auto& process : picked_) {
      Change change;
      change.what = fmt::format("send {} to {}", with_.grace ? "SIGTERM, then " + signal_name() : signal_name(), process.to_string());
      change.undo_note = "a killed process does not come back by itself; whoever supervises it has to";
      change.act = [this, process] { strike(process); };
      transaction.add(std::move(change));
    }
  }

  void started() override {
    if (with_.every) repeat();
    look_for_successors();
  }

  void stopping() override {
    stopped_ = true;
    repeat_.reset();
    look_.reset();
    force_.clear();
  }

  Dose measure() override {
    notice_deaths();
    Dose dose;
    dose.prescribed = {{"processes", struck_}, {"signal", signal_name()}};
    if (with_.every) dose.prescribed["every_s"] = with_.every->seconds();
    std::int64_t died = 0, returned = 0;
    double first_death = -1, last_return = -1;
    boost::json::array pids;
    for (auto& victim : victims_) {
      if (!victim->died) continue;
      ++died;
      pids.push_back(victim->process.pid);
      const double after = static_cast<double>(victim->died - victim->signalled) / 1e6;
      if (first_death < 0) first_death = after;
      if (!victim->returned) continue;
      ++returned;
      last_return = std::max(last_return, static_cast<double>(victim->returned - victim->died) / 1e6);
    }
    dose.measured = {{"died", died}, {"pids", std::move(pids)}, {"successors", returned}};
    if (first_death >= 0) dose.measured["died_after_ms"] = first_death;
    if (last_return >= 0) dose.measured["returned_after_ms"] = last_return;
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
  std::string signal_name() const { return enum_text(with_.signal); }

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
    victim->signalled = monotonic_ns();
    const int signal = with_.grace ? SIGTERM : static_cast<int>(with_.signal);
    if (const int error = signal_process(victim->pidfd, signal)) throw std::runtime_error(std::strerror(error));
    ++struck_;
    if (setting_.io) {
      victim->watch = std::make_unique<asio::posix::stream_descriptor>(*setting_.io, ::dup(victim->pidfd.get()));
      victim->watch->async_wait(asio::posix::stream_descriptor::wait_read, [this, raw = victim.get()](auto error) {
        if (!error) note_death(*raw);
      });
      if (with_.grace) force(*victim);
    }
    victims_.push_back(std::move(victim));
  }

  // Those that live on after the grace get the signal that leaves no choice.
  void force(Victim& victim) {
    auto& timer = force_.emplace_back(std::make_unique<asio::steady_timer>(*setting_.io, with_.grace->chrono()));
    timer->async_wait([this, raw = &victim](auto error) {
      if (!error && !raw->died) signal_process(raw->pidfd, static_cast<int>(with_.signal));
    });
  }

  void note_death(Victim& victim) {
    if (victim.died) return;
    victim.died = monotonic_ns();
    events_.push_back({"process.died", wall_ns(), {{"pid", victim.process.pid}, {"name", victim.process.name},
                                                   {"after_ms", static_cast<double>(victim.died - victim.signalled) / 1e6}}});
  }

  void notice_deaths() {
    for (auto& victim : victims_)
      if (!victim->died && wait_for_end(victim->pidfd, 0)) note_death(*victim);
  }

  void repeat() {
    if (!setting_.io || stopped_) return;
    repeat_ = std::make_unique<asio::steady_timer>(*setting_.io, with_.every->chrono());
    repeat_->async_wait([this](auto error) {
      if (error || stopped_) return;
      if (auto found = find_processes(on_)) {
        found_ = std::move(*found);
        pick();
        for (auto& process : picked_) try {
            strike(process);
          } catch (const std::exception&) {
            // It ended by itself between the look and the signal: nothing to kill.
          }
      }
      repeat();
    });
  }

  // A successor is a process that the same selector finds and that started after the victim.
  void look_for_successors() {
    if (!setting_.io || stopped_) return;
    notice_deaths();
    const bool missing = std::any_of(victims_.begin(), victims_.end(), [](auto& v) { return v->died && !v->returned; });
    if (missing)
      if (auto now = find_processes(on_)) match(*now);
    look_ = std::make_unique<asio::steady_timer>(*setting_.io, std::chrono::milliseconds{100});
    look_->async_wait([this](auto error) {
      if (!error) look_for_successors();
    });
  }

  void match(const std::vector<Process>& now) {
    for (auto& process : now) {
      const bool known = std::any_of(found_.begin(), found_.end(), [&](auto& old) { return old.pid == process.pid && old.start_ticks == process.start_ticks; });
      if (known || successors_.contains({process.pid, process.start_ticks})) continue;
      for (auto& victim : victims_) {
        if (!victim->died || victim->returned || process.start_ticks < victim->process.start_ticks) continue;
        victim->returned = monotonic_ns();
        successors_.insert({process.pid, process.start_ticks});
        events_.push_back({on_.listens_on ? "process.answers" : "process.returned", wall_ns(),
                           {{"pid", process.pid}, {"name", process.name}, {"instead_of", victim->process.pid},
                            {"after_ms", static_cast<double>(victim->returned - victim->died) / 1e6}}});
        break;
      }
    }
  }

  ProcessKill with_;
  TargetSpec on_;
  Setting setting_;
  std::mt19937_64 random_;
  std::vector<Process> found_, picked_;
  std::vector<std::unique_ptr<Victim>> victims_;
  std::set<std::pair<pid_t, std::uint64_t>> successors_;
  std::vector<FaultEvent> events_;
  std::unique_ptr<asio::steady_timer> repeat_, look_;
  std::vector<std::unique_ptr<asio::steady_timer>> force_;
  std::int64_t struck_ = 0;
  bool stopped_ = false;
};

std::unique_ptr<Fault> prepare(const Value& with, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  ProcessKill parameters;
  if (!Codec<ProcessKill>::decode(with, parameters, diagnostics)) return nullptr;
  if (!on.selects_processes()) {
    diagnostics.error({}, "expected a process selector, such as exe, command, listens_on, pid or unit; got none");
    return nullptr;
  }
  auto found = find_processes(on);
  if (!found) {
    diagnostics.error({}, found.error());
    return nullptr;
  }
  if (found->empty()) {
    diagnostics.error({}, none_matches(on));
    return nullptr;
  }
  return std::make_unique<Kill>(parameters, on, std::move(*found), setting);
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
