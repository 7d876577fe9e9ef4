#include "injector/session/in_force.hpp"

#include <fmt/format.h>

#include "injector/faults/claims.hpp"
#include "injector/session/request.hpp"
#include "injector/system/host_log.hpp"
#include "injector/system/network_namespace.hpp"
#include "injector/undo/host_sessions.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto dose_period = 250ms;
constexpr auto ramp_period = 100ms;
constexpr std::int64_t policy_period_ns = 1'000'000'000;
// More than so many changes may take as long as a hang: the guardian is told.
constexpr std::size_t many_changes = 20;
// Of many that are undone at once: how long what is done may be without a record.
constexpr std::int64_t longest_unnoted_ns = 200'000'000;

json::array left_json(const std::vector<Left>& left) {
  json::array out;
  for (auto& one : left)
    out.push_back(one.json());
  return out;
}

void later(asio::steady_timer& timer, std::chrono::nanoseconds after, std::function<void()> act) {
  timer.expires_after(after);
  timer.async_wait([act = std::move(act)](auto error) {
    if (!error) act();
  });
}

Dose measured(Fault& fault, std::int64_t unattended_ns) {
  Dose dose;
  try {
    dose = fault.measure();
  } catch (const std::exception& e) {
    dose.reason = fmt::format("measuring failed: {}", e.what());
  }
  if (unattended_ns == 0) return dose;
  dose.measured["unattended_ms"] = unattended_ns / 1'000'000;
  dose.verified = false;
  dose.reason =
      fmt::format("for {:.1f} s of it nobody looked: the injector stood still{}{}",
                  static_cast<double>(unattended_ns) / 1e9, dose.reason.empty() ? "" : "; ", dose.reason);
  return dose;
}

std::vector<FaultEvent> events_of(Fault& fault) {
  try {
    return fault.events();
  } catch (const std::exception& e) {
    return {{"fault.error", wall_ns(), {{"text", e.what()}}}};
  }
}

void log_ended(const std::string& session, const std::string& step, const std::string& why,
               const std::vector<Left>& left) {
  if (left.empty())
    log_line(LogLevel::info, fmt::format("session {} step \"{}\": undone: {}", session, step, why));
  for (auto& one : left)
    log_line(LogLevel::error, fmt::format("session {} step \"{}\": not undone: {} (by hand: {})", session,
                                          step, one.detail, one.by_hand));
}

std::string until_text(std::int64_t until) {
  if (until == 0) return "until it is undone";
  const auto left = std::max<std::int64_t>(0, until - wall_ns()) / 1'000'000'000;
  return fmt::format("until {}, {} s from now", time_of_day(until), left);
}

}  // namespace

struct InForce::Running {
  Running(asio::io_context& io, Order&& given, Journal& journal)
      : order(std::move(given)),
        claims(order.fault->claims()),
        applied(std::make_unique<Applied>(journal, order.step)),
        over(io),
        ramp(io) {}
  Order order;
  std::uint64_t number = 0;
  std::vector<std::string> claims;
  std::unique_ptr<Applied> applied;
  std::int64_t since = 0, until = 0;  // CLOCK_REALTIME; 0: not by itself
  std::int64_t over_at = 0;           // CLOCK_BOOTTIME
  std::int64_t unattended_ns = 0;     // while the injector stood still
  asio::steady_timer over, ramp;
};

InForce::InForce(Surroundings at) : at_(std::move(at)), ticks_(at_.io), lease_(at_.io) {}
InForce::~InForce() = default;

InForce::Running& InForce::find(const std::string& step) {
  auto found = running_.find(step);
  if (found == running_.end()) throw Refused{"input", fmt::format("no step \"{}\" is in force", step)};
  return *found->second;
}

// Who on this host holds one of the claims already: this session, or another injector that is alive.
void InForce::check_claims(const Order& order) const {
  const auto here = current_network_namespace();
  const Claims claims{order.fault->claims(), here};
  for (auto& [step, other] : running_)
    if (const auto both = clash(claims, {other->claims, here}))
      throw Refused{"conflict", fmt::format("\"{}\" ({}) needs {}, which \"{}\" ({}) holds {}", order.step,
                                            order.type->name, both->told(), step, other->order.type->name,
                                            until_text(other->until))};
  for (auto& journal : read_host_journals(at_.state, at_.session))
    for (auto& other : journal.faults)
      if (const auto both =
              clash(claims, {other.claims, other.network_namespace ? other.network_namespace : here}))
        throw Refused{
            "conflict",
            fmt::format("\"{}\" ({}) needs {}, which \"{}\" ({}) of {} holds {}", order.step,
                        order.type->name, both->told(), other.step, other.fault,
                        other.run.empty() ? "another session" : fmt::format("the run \"{}\"", other.run),
                        journal.owner_alive()
                            ? until_text(other.until)
                            : fmt::format("although its injector is dead: run squall undo{}",
                                          journal.path == journal_path(at_.state, journal.session)
                                              ? ""
                                              : fmt::format(" --state '{}'", journal.state())))};
}

json::object InForce::apply(Order order) {
  const auto step = order.step;
  if (running_.contains(step))
    throw Refused{"conflict", fmt::format("a step \"{}\" is in force already", step)};
  look();
  at_.safeguard.arm();
  auto running = std::make_unique<Running>(at_.io, std::move(order), at_.safeguard.journal());
  auto& fault = *running->order.fault;
  const auto for_ns = running->order.for_ns;
  at_.safeguard.hold(true);
  try {
    const auto lock = take_host_lock();
    check_claims(running->order);
    if (running->order.ramp_up_ns > 0) fault.set_level(0);
    Transaction transaction;
    fault.apply(transaction);
    if (at_.note) at_.note(fault, transaction.changes());
    running->since = wall_ns();
    running->until = for_ns > 0 ? running->since + for_ns : 0;
    running->over_at = for_ns > 0 ? boottime_ns() + for_ns : 0;
    if (transaction.changes().size() > many_changes) at_.safeguard.expect_a_pause();
    running->applied->commit(
        std::move(transaction),
        {fault_record({step, std::string(running->order.type->name), fault.mechanism(), running->order.run,
                       running->claims, running->since, running->until, current_network_namespace()})});
  } catch (...) {
    if (!running->applied->gone())
      remains_.push_back(std::move(running));
    else if (running->since > 0)
      try {
        at_.safeguard.journal().append({ended_record(step)});
      } catch (const std::exception&) {
      }
    at_.safeguard.hold(!running_.empty());
    throw;
  }
  const auto apply_ns = monotonic_ns() - running->order.received;
  looked();
  at_.safeguard.hold(true);
  log_line(LogLevel::info,
           fmt::format("session {} step \"{}\": {} by {} is in force {}", at_.session, step,
                       running->order.type->name, fault.mechanism(), until_text(running->until)));
  running->number = ++order_;
  auto& kept = *(running_[step] = std::move(running));
  try {
    start(kept);
  } catch (const std::exception&) {
    end({step}, "it could not be started", [](auto) {});
    throw;
  }
  return {{"step", step},
          {"mechanism", fault.mechanism()},
          {"targets", json_texts(fault.targets())},
          {"limits", json_texts(fault.limits())},
          {"applied_at", kept.since},
          {"apply_ns", apply_ns}};
}

void InForce::start(Running& running) {
  running.order.fault->started();
  if (running.order.for_ns > 0)
    later(running.over, std::chrono::nanoseconds{running.order.for_ns}, [this] { end_those_over(); });
  if (running.order.ramp_up_ns > 0) ramp(running.order.step);
  if (running_.size() > 1) return;
  looked();
  later(ticks_, dose_period, [this] { tick(); });
  renew();
}

void InForce::ramp(const std::string& step) {
  auto found = running_.find(step);
  if (found == running_.end()) return;
  auto& running = *found->second;
  const double level =
      static_cast<double>(wall_ns() - running.since) / static_cast<double>(running.order.ramp_up_ns);
  try {
    running.order.fault->set_level(std::clamp(level, 0.0, 1.0));
  } catch (const std::exception& e) {
    return end_and_say({step}, fmt::format("raise its level: {}", e.what()));
  }
  if (level < 1) later(running.ramp, ramp_period, [this, step] { ramp(step); });
}

// Nobody but a signal, a freezer or a sleep of the machine keeps the timer waiting for so long where nothing
// else was done.
void InForce::look() {
  constexpr std::int64_t longest_ns = 2'000'000'000;  // the guardian's patience
  const auto now = boottime_ns();
  const auto gap = now - std::exchange(looked_at_, now);
  if (gap < longest_ns) return;
  for (auto& [step, running] : running_) {
    running->unattended_ns += gap;
    at_.say({{"event", "fault"},
             {"step", step},
             {"what", "fault.unattended"},
             {"at", wall_ns()},
             {"seconds", static_cast<double>(gap / 1'000'000) / 1000},
             {"why", "the injector stood still: stopped, frozen, or without a processor"}});
  }
}

void InForce::looked() {
  looked_at_ = boottime_ns();
}

void InForce::tick() {
  look();
  // Timers stand still while the machine sleeps; what has to end does not.
  end_those_over();
  if (lease_ns_ > 0 && boottime_ns() >= lease_until_) undo_all("the lease ran out", true);
  ask_policy();
  for (auto& [step, running] : running_) {
    say_events(*running);
    at_.tell({{"event", "dose"},
              {"step", step},
              {"at", wall_ns()},
              {"dose", measured(*running->order.fault, running->unattended_ns).json()}});
  }
  if (!running_.empty()) later(ticks_, dose_period, [this] { tick(); });
}

// Others come to a cgroup, a namespace, a port: what may not be touched any more is let go.
void InForce::ask_policy() {
  if (monotonic_ns() < policy_at_) return;
  policy_at_ = monotonic_ns() + policy_period_ns;
  std::vector<std::pair<std::string, std::string>> forbidden;
  for (auto& [step, running] : running_)
    try {
      if (auto rule = at_.forbidden(*running->order.fault); !rule.empty())
        forbidden.emplace_back(step, std::move(rule));
    } catch (const std::exception& e) {
      at_.tell({{"event", "log"},
                {"level", "error"},
                {"text", fmt::format("ask the policy about \"{}\": {}", step, e.what())}});
    }
  for (auto& [step, rule] : forbidden)
    end_and_say({step}, "the host's policy: " + rule);
}

void InForce::renew() {
  lease_.cancel();
  if (running_.empty() || lease_ns_ <= 0) return;
  lease_until_ = boottime_ns() + lease_ns_;
  later(lease_, std::chrono::nanoseconds{lease_ns_}, [this] { undo_all("the lease ran out", true); });
}

void InForce::say_events(Running& running) {
  for (auto& event : events_of(*running.order.fault)) {
    json::object line{
        {"event", "fault"}, {"step", running.order.step}, {"what", event.event}, {"at", event.at}};
    for (auto& [key, value] : event.with)
      line[key] = value;
    at_.say(line);
  }
}

void InForce::note_probes(const std::string& step, const std::string& service,
                          const std::vector<Endpoint>& ends) {
  if (const auto found = running_.find(step); found != running_.end())
    found->second->order.fault->note_probes(service, ends);
}

json::object InForce::dose(const std::string& step) {
  auto& running = find(step);
  return measured(*running.order.fault, running.unattended_ns).json();
}

void InForce::make_way(const std::vector<Running*>& besides, bool on) {
  for (auto& [step, running] : running_)
    if (auto& fault = *running->order.fault;
        fault.keeps_packets() && std::find(besides.begin(), besides.end(), running.get()) == besides.end())
      fault.make_way(on);
}

// The last first, but for those whose packets would be lost with another's hook.
std::vector<InForce::Running*> InForce::in_order_of_undo(const std::vector<std::string>& steps) {
  std::vector<Running*> out;
  for (auto& step : steps)
    out.push_back(&find(step));
  const auto turn = [](auto* one) { return std::pair{one->order.fault->keeps_packets(), one->number}; };
  std::sort(out.begin(), out.end(), [&](auto* one, auto* other) { return turn(one) > turn(other); });
  return out;
}

void InForce::end(const std::vector<std::string>& steps, const std::string& why, const Told& told) {
  look();
  const HoldLogFile what_is_undone_comes_first;
  const auto begin = monotonic_ns();
  const auto order = in_order_of_undo(steps);
  std::size_t changes = 0;
  for (auto* running : order)
    changes += running->applied->size();
  if (changes > many_changes || order.size() > 1) at_.safeguard.expect_a_pause();
  const auto each = [&](auto act) {
    for (auto* running : order)
      try {
        act(*running->order.fault);
      } catch (const std::exception& e) {
        at_.say({{"event", "log"},
                 {"level", "error"},
                 {"text", fmt::format("stop \"{}\": {}", running->order.step, e.what())}});
      }
  };
  each([](Fault& fault) { fault.stopping(); });
  const bool others = running_.size() > order.size();
  if (others) make_way(order, true);
  if (order.size() > 1) {
    each([](Fault& fault) { fault.begin_letting_go(); });
    each([](Fault& fault) { fault.finish_letting_go(); });
  }
  std::vector<json::object> records, undone;
  const auto tell = [&] {
    note(records);
    for (auto& one : std::exchange(undone, {}))
      told(std::move(one));
  };
  auto noted = begin;
  for (auto* running : order) {
    undone.push_back(undo(*running, begin, why, records));
    const auto now = monotonic_ns();
    if (now - noted < longest_unnoted_ns) continue;
    noted = now;
    tell();
    at_.safeguard.expect_a_pause();
  }
  tell();
  if (others) make_way({}, false);
  at_.safeguard.hold(!running_.empty());
  looked();
  if (!running_.empty()) return;
  ticks_.cancel();
  lease_.cancel();
}

json::object InForce::undo(Running& running, std::int64_t begin, const std::string& why,
                           std::vector<json::object>& records) {
  const auto step = running.order.step;
  const auto left = running.applied->undo({ended_record(step)}, records);
  const auto undo_ns = monotonic_ns() - begin;
  log_ended(at_.session, step, why, left);
  say_events(running);
  json::object told{{"step", step},
                    {"undone_at", wall_ns()},
                    {"undo_ns", undo_ns},
                    {"why", why},
                    {"clean", left.empty()},
                    {"left", left_json(left)},
                    {"dose", measured(*running.order.fault, running.unattended_ns).json()}};
  running.over.cancel();
  running.ramp.cancel();
  auto ended = running_.extract(step);
  if (!left.empty()) remains_.push_back(std::move(ended.mapped()));
  return told;
}

// Where the disk is too full for that, only `squall status` misses it: every inverse is idempotent.
void InForce::note(std::vector<json::object>& records) {
  try {
    if (!records.empty()) at_.safeguard.journal().append(records);
  } catch (const std::exception&) {
  }
  records.clear();
}

void InForce::end_and_say(const std::vector<std::string>& steps, const std::string& why) {
  std::vector<std::string> there;
  for (auto& step : steps)
    if (running_.contains(step)) there.push_back(step);
  if (there.empty()) return;
  end(there, why, [this](auto told) {
    told["event"] = "undone";
    told["at"] = told["undone_at"];
    at_.say(told);
  });
}

// All of them at once: while one is undone, others' time comes.
void InForce::end_those_over() {
  const auto now = boottime_ns();
  std::vector<std::string> over;
  for (auto& [step, running] : running_)
    if (running->over_at > 0 && running->over_at <= now) over.push_back(step);
  end_and_say(over, "its time was over");
}

json::object InForce::undo(const std::string& step) {
  json::object out;
  end({find(step).order.step}, "asked", [&](auto told) { out = std::move(told); });
  return out;
}

json::object InForce::undo_all(const std::string& why, bool say) {
  std::vector<std::string> all;
  for (auto& [step, running] : running_)
    all.push_back(step);
  if (say)
    end_and_say(all, why);
  else if (!all.empty())
    end(all, why, [](auto) {});
  std::vector<Left> left;
  for (auto& one : remains_)
    for (auto& what : one->applied->undo())
      left.push_back(std::move(what));
  std::erase_if(remains_, [](auto& one) { return one->applied->gone(); });
  return {{"clean", left.empty()}, {"left", left_json(left)}};
}

}  // namespace squall
