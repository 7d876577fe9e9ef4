// The hosts' side of a drill: plans, faults that come and go, what the hosts tell, and whether they are as
// found.
#include "controller/engine/drill_hosts.hpp"

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "controller/engine/requests.hpp"
#include "controller/engine/together.hpp"
#include "controller/hosts/recover.hpp"
#include "controller/record/clock_estimate.hpp"
#include "injector/faults/fault.hpp"
#include "injector/session/protocol.hpp"
#include "injector/session/request.hpp"

namespace squall {

namespace asio = boost::asio;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A third of the injector's default lease.
constexpr std::chrono::nanoseconds lease_renewal = 3s;

// Whose probes tell whether users met the fault: of the service that the step names, or that it is aimed at
// by its port.
static std::string service_of(const Scenario& scenario, const PlannedFault& fault) {
  if (fault.step->on.service) return *fault.step->on.service;
  for (auto& [name, service] : scenario.landscape.services)
    if (fault.target.listens_on && service.processes.listens_on == fault.target.listens_on) return name;
  return "";
}

asio::awaitable<void> Drill::prepare() {
  std::set<std::string> needed;
  for (auto& fault : plan_.faults)
    needed.insert(fault.host);
  for (auto& name : needed) {
    auto& host = hosts_.emplace_back(std::make_unique<Host>());
    host->name = name;
    host->spec = plan_.hosts.at(name);
  }
  co_await together(io_, hosts_, [this](auto& host) { return connect(*host); });
  if (halting_) co_return;
  for (auto& host : hosts_)
    if (!host->unreachable.empty())
      cannot_start_.push_back(fmt::format("reach the host {}: {}", host->name, host->unreachable));
  if (cannot_start_.empty()) co_await plan_faults();
}

asio::awaitable<void> Drill::connect(Host& host) {
  auto* raw = &host;
  try {
    host.link = std::make_unique<Link>(
        io_, host.name, injector_command(host.spec, options_.link, "stdio"),
        Link::Sinks{[this, raw](const json::object& event) { from_host(*raw, event); },
                    [this, raw](const std::string& why) { host_lost(*raw, why); },
                    [this, raw](auto for_how_long) { host_silent(*raw, for_how_long); }});
  } catch (const std::exception& e) {
    host.unreachable = e.what();
    co_return;
  }
  json::object hello{{"do", "hello"}, {"version", 1}, {"run", scenario_.name}};
  if (!scenario_.landscape.environment.empty()) hello["environment"] = scenario_.landscape.environment;
  auto reply = co_await host.link->ask(hello);
  if (reply) {
    host.session = text_of(*reply, "session");
    host.link->keep_alive(lease_renewal);
  } else {
    host.unreachable = reply.error().text;
  }
}

asio::awaitable<void> Drill::plan_faults() {
  for (auto& fault : plan_.faults) {
    auto host = std::find_if(hosts_.begin(), hosts_.end(), [&](auto& h) { return h->name == fault.host; });
    active_.push_back({&fault, host->get()});
    active_.back().service = service_of(scenario_, fault);
  }
  std::map<const PlannedFault*, Reply> replies;
  co_await together(io_, active_, [&](Active& active) -> asio::awaitable<void> {
    auto reply = co_await active.host->link->ask(fault_request("plan", *active.fault));
    replies.emplace(active.fault, std::move(reply));
  });
  if (halting_) co_return;
  std::vector<std::vector<std::string>> claims;
  Diagnostics wrong{options_.scenario_file, options_.scenario_text};
  bool input = true;
  for (auto& fault : plan_.faults) {
    auto& reply = replies.at(&fault);
    if (!reply) {
      const auto text =
          fmt::format("step \"{}\" on {}: {}", fault.step->name, fault.host, reply.error().text);
      wrong.error(fault.step->place, text);
      cannot_start_.push_back(text);
      input = input && reply.error().kind == "input";
      continue;
    }
    auto& told = *reply;
    claims.push_back(claims_of(told));
    planned_.push_back(json::object{{"step", fault.step->name},
                                    {"fault", fault.step->fault},
                                    {"host", fault.host},
                                    {"mechanism", told["mechanism"]},
                                    {"targets", told_targets(fault, told)},
                                    {"limits", told["limits"]},
                                    {"changes", told["changes"]}});
  }
  if (cannot_start_.empty()) check_claims(scenario_, plan_, claims, wrong);
  if (!wrong.ok() && input) throw CannotStart{2, wrong.render()};
}

asio::awaitable<void> Drill::take_snapshot(Host& host) {
  host.touched = true;
  auto reply = co_await host.link->ask({{"do", "snapshot"}});
  if (!reply) halt(fmt::format("take a snapshot of {}: {}", host.name, reply.error().text), "host");
}

// A host's times are those of its clock: every answer to a renewal of the lease says what that is.
asio::awaitable<void> Drill::watch_clock(Host& host) {
  constexpr auto rhythm = 1s;
  watching_ = true;
  ClockEstimate clock;
  for (int asked = 0; watching_ && !host.lost; ++asked) {
    const auto sent = monotonic_clock_ns();
    auto reply = co_await host.link->ask({{"do", "renew"}});
    const auto received = monotonic_clock_ns();
    if (!reply || !log_) co_return;
    auto* told = reply->if_contains("clock");
    if (!told || !told->is_int64())
      co_return log_->add("clock", unknown_clock("host", host.name, "its injector does not tell it"));
    if (auto news = clock.add(told->get_int64(), told->get_int64(), sent, received))
      log_->add("clock", to_event(*news, "host", host.name));
    // The first few in a row: whatever was slow about one is told by the next.
    if (asked >= 3 && !co_await rest(rhythm)) co_return;
  }
}

// Sleeps on, halted or not, for as long as the drill is watched.
asio::awaitable<bool> Drill::rest(std::chrono::nanoseconds span) {
  asio::steady_timer timer(io_, span);
  sleeping_.insert(&timer);
  boost::system::error_code woken;
  const auto until = Clock::now() + span;
  while (watching_ && Clock::now() < until) {
    timer.expires_at(until);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  sleeping_.erase(&timer);
  co_return watching_;
}

asio::awaitable<bool> Drill::prepare(Active& active) {
  auto reply = co_await active.host->link->ask(fault_request("prepare", *active.fault));
  if (!reply) could_not_apply(active, reply.error());
  co_return reply.has_value();
}

asio::awaitable<bool> Drill::apply(Active& active) {
  auto& step = *active.fault->step;
  json::object request{{"do", "apply"}, {"step", step.name}, {"for_ns", lasting(step).count()}};
  if (step.ramp) request["ramp_up_ns"] = step.ramp->up.ns;
  active.in_force = true;  // from here on an undo is owed, whatever the answer
  auto reply = co_await active.host->link->ask(std::move(request));
  if (!reply) {
    could_not_apply(active, reply.error());
    co_return false;
  }
  auto& told = *reply;
  active.applied_t = log_->now();
  log_->add("fault.applied", {{"step", step.name},
                              {"fault", step.fault},
                              {"host", active.host->name},
                              {"act", !find_fault(step.fault)->lasting},
                              {"mechanism", told["mechanism"]},
                              {"targets", told_targets(*active.fault, told)},
                              {"limits", told["limits"]},
                              {"applied_at", told["applied_at"]},
                              {"apply_ns", told["apply_ns"]}});
  co_return true;
}

void Drill::could_not_apply(Active& active, const Refusal& refusal) {
  auto& step = *active.fault->step;
  active.in_force = active.in_force && refusal.kind == "lost";
  active.over = !active.in_force;
  log_->add(
      "fault.failed",
      {{"step", step.name}, {"fault", step.fault}, {"host", active.host->name}, {"error", refusal.text}});
  // That a link was lost is told once, by whoever noticed it.
  if (refusal.kind != "lost")
    log_->add("error",
              {{"text", fmt::format("step \"{}\" on {}: {}", step.name, active.host->name, refusal.text)}});
  halt(fmt::format("step \"{}\" could not be applied", step.name), "host");
}

void Drill::note_undone(Active& active, const json::object& told) {
  if (std::exchange(active.over, true)) return;
  active.in_force = false;
  auto member = [&](const char* key) { return told.contains(key) ? told.at(key) : json::value{}; };
  auto at = told.contains("undone_at") ? told.at("undone_at") : member("at");
  log_->add("fault.undone", {{"step", active.fault->step->name},
                             {"host", active.host->name},
                             {"undone_at", at.is_null() ? json::value(wall_clock_ns()) : at},
                             {"undo_ns", member("undo_ns")},
                             {"why", member("why").is_null() ? json::value("asked") : member("why")},
                             {"clean", member("clean")},
                             {"left", member("left")},
                             {"dose", member("dose")}});
  wake_everybody();
}

asio::awaitable<void> Drill::undo(Active& active) {
  if (!active.in_force || active.over || active.host->lost) co_return;
  json::object request{{"do", "undo"}, {"step", active.fault->step->name}};
  auto reply = co_await active.host->link->ask(request);
  if (reply) note_undone(active, *reply);
}

asio::awaitable<void> Drill::undo_everything() {
  co_await together(io_, active_, [this](Active& active) { return undo(active); });
}

void Drill::note_probe(const std::string& service, const ProbeSample& sample) {
  constexpr std::size_t most = 10'000;  // between two doses
  if (sample.local.empty()) return;
  for (auto& active : active_)
    if (active.in_force && !active.over && active.applied_t > 0 && sample.due_ns >= active.applied_t &&
        active.service == service && active.probed.size() < most)
      active.probed.emplace_back(sample.local);
}

void Drill::send_probes(Active& active) {
  if (active.probed.empty() || active.host->lost) return;
  json::object request{{"do", "probes"},
                       {"step", active.fault->step->name},
                       {"service", active.service},
                       {"ends", std::exchange(active.probed, {})}};
  active.host->link->request(std::move(request), [](const Reply&) {});
}

Drill::Active* Drill::find(const Host& host, const std::string& step) {
  for (auto& active : active_)
    if (active.host == &host && active.fault->step->name == step) return &active;
  return nullptr;
}

void Drill::from_host(Host& host, const json::object& event) {
  auto text = [&](const char* key) {
    auto* member = event.if_contains(key);
    return member && member->is_string() ? std::string(member->get_string()) : std::string();
  };
  auto* active = find(host, text("step"));
  const auto what = text("event");
  if (what == "leaving" && text("why") == squall::undone_by_hand) {
    host.undone_by_hand = true;
    halt(fmt::format("undone on {} by {}", host.name, squall::undone_by_hand), "user");
  }
  if (what == "left") host.farewell = event;
  if (what == "log" && text("level") == "warning")
    host_findings_.push_back(fmt::format("{}: {}", host.name, text("text")));
  if (!log_) return;
  if (what == "undone" && active) return note_undone(*active, event);
  json::object line = event;
  line.erase("event");
  line["host"] = host.name;
  if (what == "dose" && active) send_probes(*active);
  if (what == "other") {
    // A host of this drill may be reached in two ways: what we do there ourselves is nobody else's.
    const auto session = text("session");
    if (std::none_of(hosts_.begin(), hosts_.end(), [&](auto& one) { return one->session == session; }))
      log_->add("other", std::move(line));
  }
  if (what == "dose" && active && line["dose"] != active->dose) {
    active->dose = line["dose"];
    log_->add("fault.dose", std::move(line));
  }
  if (what == "fault" && active) {
    line["happened_at"] = line["at"];  // the log has a time of its own under that name
    log_->add("fault.event", std::move(line));
  }
}

void Drill::host_lost(Host& host, const std::string& why) {
  host.lost = true;
  if (!log_) return;
  if (host.undone_by_hand) return wake_everybody();
  log_->add("error", {{"text", fmt::format("the link to {} was lost: {}", host.name, why)}});
  if (!recovering_) halt(fmt::format("the link to {} was lost", host.name), "host");
  wake_everybody();
}

// Noticed before its lease would be over. Another link to the host looks what is the matter, on a thread of
// its own: probes go on.
void Drill::host_silent(Host& host, std::chrono::nanoseconds for_how_long) {
  if (host.rescuer || host.lost || !log_) return;
  const auto since = wall_clock_ns() - for_how_long.count();
  host.rescuer = std::make_unique<std::thread>([this, &host, since] {
    HostRescued found;
    try {
      found = rescue_host(host.spec, options_.link, host.session);
    } catch (const std::exception& e) {
      found.text = fmt::format("nobody could look after it: {}", e.what());
    }
    asio::post(io_, [this, &host, since, found] { host_rescued(host, since, found); });
  });
}

void Drill::host_rescued(Host& host, std::int64_t since, const HostRescued& found) {
  host.rescuer->join();
  host.rescuer.reset();
  if (!found.reached)
    log_->add("error",
              {{"text", fmt::format("the injector on {} says nothing, and {}", host.name, found.text)}});
  if (!found.suspended) return;  // slow: what it says is read when it comes
  const auto now = wall_clock_ns();
  const auto text = fmt::format(
      "the injector on {} was stopped or frozen, and nobody looked after its faults for {:.1f} s; {}",
      host.name, static_cast<double>(now - since) / 1e9, found.text);
  log_->add("error", {{"text", text}});
  for (auto& active : active_) {
    if (active.host != &host || !active.in_force || active.over) continue;
    log_->add("fault.event", {{"step", active.fault->step->name},
                              {"host", host.name},
                              {"what", "fault.unattended"},
                              {"happened_at", now},
                              {"why", text}});
    auto dose = active.dose.is_object() ? active.dose.get_object() : json::object{};
    dose["verified"] = false;
    dose["reason"] = text;
    note_undone(active, {{"undone_at", now},
                         {"why", "the injector was stopped or frozen"},
                         {"clean", found.clean},
                         {"dose", std::move(dose)}});
  }
  halt(fmt::format("the injector on {} was stopped or frozen", host.name), "host");
  wake_everybody();
}

// Whether the host is as found: by its own comparison with the snapshot, or, where the injector is gone
// without one, by what its guardian left in the journal.
asio::awaitable<void> Drill::restored(Host& host) {
  while (host.rescuer) {  // what it finds belongs in the record; it ends by itself
    asio::steady_timer timer(io_, 20ms);
    boost::system::error_code woken;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  if (!host.touched) co_return;
  json::object line{
      {"host", host.name}, {"clean", false}, {"differences", json::array{}}, {"left", json::array{}}};
  if (!host.lost) {
    if (auto bye = co_await host.link->ask({{"do", "bye"}})) {
      host.farewell = std::move(*bye);
      host.link->close();
    }
  }
  if (!host.farewell.empty()) {
    for (auto* key : {"clean", "differences", "see", "meanwhile", "left", "ended"})
      line[key] = host.farewell[key];
    log_->add("restored", std::move(line));
    co_return;
  }
  const auto recovered = co_await recover_lost_host(io_, host.spec, options_.link, host.session);
  line["clean"] = recovered.clean;
  line["left"] = recovered.left;
  line["note"] = recovered.note();
  log_->add("restored", std::move(line));
}

}  // namespace squall
