#include "controller/engine/drill_hosts.hpp"

#include <filesystem>

#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "controller/alerts/lookout.hpp"
#include "controller/engine/requests.hpp"
#include "controller/engine/together.hpp"
#include "controller/engine/who.hpp"
#include "injector/faults/fault.hpp"
#include "reports/judge/verdict.hpp"
#include "reports/render/live.hpp"
#include "scenarios/model/warnings.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// How much later than told the injector may say that a fault is over before it is asked to undo it.
constexpr std::chrono::nanoseconds undo_grace = 5s;

json::object labels_json(const std::map<std::string, std::string>& labels) {
  json::object out;
  for (auto& [key, value] : labels)
    out[key] = value;
  return out;
}

// What the files of samples said, so that the record can do without them.
json::array samples_json(const Scenario& scenario) {
  json::array out;
  for (auto& step : scenario.method) {
    if (!step.samples) continue;
    json::array delays;
    for (auto& delay : step.samples->delays)
      delays.emplace_back(delay.ns);
    out.push_back(
        json::object{{"step", step.name}, {"file", step.samples->file}, {"delays_ns", std::move(delays)}});
  }
  return out;
}

// runs/latest, changed in one go. A file system without links, or another's file of that name, is no reason
// not to run.
void point_latest_to(const std::string& run) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto latest = fs::path(run).parent_path() / "latest",
             fresh = fs::path(latest).concat(fmt::format(".{}", ::getpid()));
  if (fs::exists(fs::symlink_status(latest, ignored)) && !fs::is_symlink(latest, ignored)) return;
  fs::create_directory_symlink(fs::path(run).filename(), fresh, ignored);
  fs::rename(fresh, latest, ignored);
  if (ignored) fs::remove(fresh, ignored);
}

}  // namespace

struct Drill::Live {
  explicit Live(const Scenario& scenario) : halts(scenario.halt_when) {}
  LiveWindows halts;
};

Drill::Drill(asio::io_context& io, const Scenario& scenario, const Plan& plan, DrillOptions options)
    : io_(io),
      scenario_(scenario),
      plan_(plan),
      options_(std::move(options)),
      live_(std::make_unique<Live>(scenario)) {}

Drill::~Drill() = default;

RunLog& Drill::open_log() {
  log_ = std::make_unique<RunLog>(options_.runs, scenario_.name);
  point_latest_to(log_->folder());
  return *log_;
}

void Drill::start_record() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  json::array files;
  for (auto& file : options_.files)
    files.emplace_back(file);
  log_->add("run.started", {{"version", SQUALL_VERSION},
                            {"run", log_->name()},
                            {"scenario", scenario_.name},
                            {"title", scenario_.title},
                            {"squad", scenario_.squad},
                            {"hypothesis", scenario_.hypothesis},
                            {"seed", options_.seed},
                            {"host", name},
                            {"started_by", who_am_i()},
                            {"scenario_yaml", options_.scenario_text},
                            {"landscape_yaml", options_.landscape_text},
                            {"files", std::move(files)},
                            {"samples", samples_json(scenario_)},
                            {"plan", planned_}});
  for (auto& text : host_findings_)
    log_->add("lookout", {{"text", text}});
}

void Drill::wake_everybody() {
  for (auto* timer : sleeping_)
    timer->cancel();
}

// Sleeps until then, until the condition holds, or until the drill is halted; true where it slept to the end
// or the condition came true.
asio::awaitable<bool> Drill::pause_until(Clock::time_point then, std::function<bool()> until) {
  asio::steady_timer timer(io_);
  for (;;) {
    if (until && until()) co_return true;
    if (halting_) co_return false;
    if (Clock::now() >= then) co_return true;
    timer.expires_at(then);
    sleeping_.insert(&timer);
    boost::system::error_code woken;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    sleeping_.erase(&timer);
  }
}

void Drill::halt(const std::string& reason, std::string_view by) {
  if (halting_) return;
  halting_ = true;
  if (log_) {
    log_->add("halt", {{"reason", reason}, {"by", by}});
  } else {
    halted_early_ = {{"reason", reason}, {"by", by}};
    for (auto& host : hosts_)
      if (host->link) host->link->give_up(reason);  // nothing was changed yet: nobody is waited for
  }
  wake_everybody();
}

asio::awaitable<void> Drill::observe() {
  prober_ = std::make_unique<Prober>(
      io_, log_->start(),
      [this](const std::string& service, const std::string& probe, const ProbeSample& sample) {
        log_->add("probe", to_event(service, probe, sample));
        live_->halts.add(service, probe, sample);
        note_probe(service, sample);
      });
  prober_->before_each([this] { presence_->look(); });
  for (auto& [name, service] : scenario_.landscape.services)
    for (auto probe : service.probes) {
      if (probe.kind == ProbeSpec::Kind::process && probe.process.empty()) probe.process = service.processes;
      prober_->add(name, probe);
    }
  try {
    alerts_ = std::make_unique<AlertWatch>(
        io_, scenario_.landscape.alert_sources,
        AlertWatch::Sinks{
            [this](const AlertEvent& event) {
              log_->add("alert", to_event(event));
              if (event.preexisting) open_groups_.insert(group_of(event));
            },
            [this](const AlertSourceHealth& health) {
              answering_[health.address] = health.ok;
              log_->add("alert.source", {{"source", health.source},
                                         {"address", health.address},
                                         {"ok", health.ok},
                                         {"error", health.error},
                                         {"blind", health.blind}});
            },
            [this](const AlertRule& rule) {
              rules_.push_back(rule);
              log_->add("alert.rule", {{"alert", rule.alert},
                                       {"labels", labels_json(rule.labels)},
                                       {"for_ns", rule.for_ns},
                                       {"interval_ns", rule.interval_ns}});
            },
            [this](const Routing& routing) { routing_ = routing; },
            [this](std::string_view kind, json::object event) { log_->add(kind, std::move(event)); }});
  } catch (const std::exception& e) {
    log_->add("error", {{"text", e.what()}});
    halt(e.what(), "host");
    co_return;
  }
  auto ready = std::make_shared<bool>(false);
  alerts_->run([this, ready] {
    *ready = true;
    wake_everybody();
  });
  co_await pause_until(Clock::now() + 15s, [ready] { return *ready; });
  for (auto& text : warnings(scenario_))
    log_->add("lookout", {{"text", text}});
  // Of rules that could not be asked for nothing can be said.
  if (std::all_of(answering_.begin(), answering_.end(), [](auto& source) { return source.second; }))
    for (auto& text :
         findings(scenario_, rules_, {routing_ ? &*routing_ : nullptr, wall_clock_ns(), open_groups_}))
      log_->add("lookout", {{"text", text}});
  prober_->run();
}

// A process that stood still takes nobody's silence for an answer.
void Drill::watch_presence() {
  presence_ = std::make_unique<Presence>(
      io_, [this, zero = boot_clock_ns() - log_->now()](const Gap& gap, std::chrono::nanoseconds stalled) {
        json::array not_asked;
        if (prober_)
          for (auto& one : prober_->stood_still(stalled))
            not_asked.push_back(json::object{{"s", one.service},
                                             {"p", one.probe},
                                             {"due", one.due_ns},
                                             {"every", one.every_ns},
                                             {"n", one.n}});
        live_->halts.forget();
        log_->add("gap", {{"from", gap.from_t - zero},
                          {"to", gap.to_t - zero},
                          {"suspended", gap.suspended_ns},
                          {"not_asked", std::move(not_asked)}});
      });
  log_->before_each([this] { presence_->look(); });
}

std::vector<Unanswered> Drill::unanswered() const {
  std::vector<Unanswered> out;
  if (prober_)
    for (auto& one : prober_->waiting())
      out.push_back({one.service, one.probe, one.due_ns});
  return out;
}

// Silence is told before its timeout: once a probe has waited longer than the shortest window it is to halt
// by, or 5 s.
void Drill::note_silence() {
  const auto now = log_->now();
  std::map<std::pair<std::string, std::string>, std::int64_t> silent;
  for (auto& one : unanswered()) {
    std::int64_t longest = 5'000'000'000;
    for (auto& condition : scenario_.halt_when)
      if (condition.service == one.service) longest = std::min(longest, condition.over.ns);
    if (now - one.due_ns < longest) continue;
    auto& since = silent.try_emplace({one.service, one.probe}, one.due_ns).first->second;
    since = std::min(since, one.due_ns);
  }
  for (auto& [who, due] : silent)
    if (!silent_.contains(who)) log_->add("silence", {{"s", who.first}, {"p", who.second}, {"due", due}});
  silent_ = std::move(silent);
}

// Halt conditions, and a run folder that cannot be written any more, are looked at five times a second.
asio::awaitable<void> Drill::watch_for_halt() {
  watching_ = true;
  while (!halting_ && watching_) {
    if (!log_->trouble().empty()) halt(log_->trouble(), "host");
    note_silence();
    if (auto reason = live_->halts.reason(log_->now(), unanswered()); !reason.empty())
      halt(reason, "condition");
    if (!co_await pause_until(Clock::now() + 200ms, [this] { return !watching_; })) break;
  }
}

asio::awaitable<bool> Drill::baseline() {
  log_->add("window.started", {{"window", "baseline"}});
  const bool whole = co_await pause_until(Clock::now() + scenario_.baseline.lasts.chrono());
  log_->add("window.ended", {{"window", "baseline"}});
  if (!whole) co_return false;
  std::vector<std::string> problems;
  const auto record = parse_record(log_->text(), problems);
  const auto missing = steady_state_problems(record);
  if (missing.empty()) co_return true;
  std::string text = "the steady state does not hold, so nothing was injected";
  for (auto& problem : missing)
    text += "; " + problem;
  log_->add("error", {{"text", text}});
  co_return false;
}

asio::awaitable<void> Drill::method() {
  co_await together(io_, hosts_, [this](auto& host) { return take_snapshot(*host); });
  log_->add("window.started", {{"window", "method"}});
  const auto start = Clock::now();
  for (auto& one : scenario_.method) {
    ++steps_running_;
    asio::co_spawn(io_, step(one, start), [this](std::exception_ptr failed) {
      --steps_running_;
      if (failed) halt("a step of the method failed unexpectedly", "host");
      wake_everybody();
    });
  }
  while (steps_running_ > 0)
    if (!co_await pause_until(Clock::now() + 1h, [this] { return steps_running_ == 0; })) break;
  co_await undo_everything();
  log_->add("window.ended", {{"window", "method"}});
}

asio::awaitable<void> Drill::step(const Step& step, Clock::time_point method_start) {
  if (step.after) {
    while (!ended_steps_.contains(*step.after))
      if (!co_await pause_until(Clock::now() + 1h, [&] { return ended_steps_.contains(*step.after); }))
        co_return;
  } else if (!co_await pause_until(method_start + (step.at ? step.at->chrono() : 0ns))) {
    co_return;
  }
  std::vector<Active*> mine;
  for (auto& active : active_)
    if (active.fault->step == &step) mine.push_back(&active);
  // Every host looks its targets up first, so that the fault begins everywhere at once: no host waits for
  // another's answer.
  bool all = true;
  co_await together(io_, mine, [&](auto* active) -> asio::awaitable<void> {
    if (!co_await prepare(*active)) all = false;
  });
  if (!all || halting_) co_return;
  co_await together(io_, mine, [&](auto* active) -> asio::awaitable<void> {
    if (!co_await apply(*active)) all = false;
  });
  if (!all) co_return;
  const auto end = Clock::now() + lasting(step);
  auto all_over = [&mine] {
    return std::all_of(mine.begin(), mine.end(),
                       [](auto* active) { return active->over || active->host->lost; });
  };
  if (!co_await pause_until(end + undo_grace, all_over)) co_return;
  co_await together(io_, mine, [this](auto* active) { return undo(*active); });
  ended_steps_.insert(step.name);
  wake_everybody();
}

asio::awaitable<void> Drill::stop_observing() {
  auto left = std::make_shared<int>(2);
  auto done = [this, left] {
    --*left;
    wake_everybody();
  };
  if (prober_)
    prober_->finish(done);
  else
    --*left;
  if (alerts_)
    alerts_->finish(done);
  else
    --*left;
  // Halted or not, those in flight are bounded by their own timeouts.
  const auto patience = Clock::now() + 20s;
  while (*left > 0 && Clock::now() < patience) {
    asio::steady_timer timer(io_, 20ms);
    boost::system::error_code woken;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  // Those whose timeouts are longer still: nobody may say that they were answered.
  if (prober_) prober_->give_up("no answer by the end of the drill");
}

asio::awaitable<void> Drill::run() {
  start_record();
  watch_presence();
  for (auto& text : plan_.notes)
    log_->add("lookout", {{"text", text}});
  for (auto& text : cannot_start_)
    log_->add("error", {{"text", text}});
  if (halting_)
    log_->add("halt", halted_early_);
  else if (cannot_start_.empty())
    co_await observe();
  asio::co_spawn(io_, watch_for_halt(), asio::detached);
  if (cannot_start_.empty())
    for (auto& host : hosts_)
      asio::co_spawn(io_, watch_clock(*host), asio::detached);
  if (!halting_ && cannot_start_.empty() && co_await baseline()) {
    co_await method();
    recovering_ = true;
    log_->add("window.started", {{"window", "recovery"}});
    co_await pause_until(Clock::now() + scenario_.recovery.lasts.chrono());
    log_->add("window.ended", {{"window", "recovery"}});
    // Not before: connections that were made through a fault's proxy end with the session.
    co_await together(io_, hosts_, [this](auto& host) { return restored(*host); });
  }
  co_await stop_observing();
  watching_ = false;
  wake_everybody();
  for (auto& host : hosts_)
    if (host->link) host->link->close();
  halting_ = true;  // nobody halts it any more
  log_->add("run.ended");
}

}  // namespace squall
