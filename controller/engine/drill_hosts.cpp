// The hosts' side of a drill: plans, faults that come and go, what the hosts tell, and whether they are as found.
#include "controller/engine/drill_hosts.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "controller/engine/requests.hpp"
#include "injector/fault.hpp"
#include "injector/protocol.hpp"
#include "injector/request.hpp"

namespace squall {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

// A third of the injector's default lease.
constexpr std::chrono::nanoseconds lease_renewal = 3s;

asio::awaitable<void> Drill::prepare() {
  std::set<std::string> needed;
  for (auto& fault : plan_.faults) needed.insert(fault.host);
  for (auto& name : needed) {
    auto host = std::make_unique<Host>();
    host->name = name;
    host->spec = plan_.hosts.at(name);
    auto* raw = host.get();
    const auto command = injector_command(host->spec, options_.link, "stdio");
    try {
      host->link = std::make_unique<Link>(
          io_, name, command,
          Link::Sinks{[this, raw](const json::object& event) { from_host(*raw, event); },
                      [this, raw](const std::string& why) { host_lost(*raw, why); },
                      [this, raw](auto for_how_long) { host_silent(*raw, for_how_long); }});
    } catch (const std::exception& e) {
      throw CannotStart{5, fmt::format("reach the host {}: {}", name, e.what())};
    }
    hosts_.push_back(std::move(host));
    json::object hello{{"do", "hello"}, {"version", 1}, {"run", scenario_.name}};
    if (!scenario_.landscape.environment.empty()) hello["environment"] = scenario_.landscape.environment;
    auto reply = co_await raw->link->ask(hello);
    if (!reply) throw CannotStart{5, fmt::format("reach the host {}: {}", name, reply.error().text)};
    raw->session = text_of(*reply, "session");
    raw->link->keep_alive(lease_renewal);
  }
  std::vector<std::vector<std::string>> claims;
  Diagnostics wrong{options_.scenario_file, options_.scenario_text};
  for (auto& fault : plan_.faults) {
    auto host = std::find_if(hosts_.begin(), hosts_.end(), [&](auto& h) { return h->name == fault.host; });
    auto request = fault_request("plan", fault);
    auto reply = co_await (*host)->link->ask(request);
    if (!reply) {
      wrong.error(fault.step->place, fmt::format("step \"{}\" on {}: {}", fault.step->name, fault.host, reply.error().text));
      throw CannotStart{reply.error().kind == "input" ? 2 : 5, wrong.render(), true};
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
    active_.push_back({&fault, host->get()});
  }
  check_claims(scenario_, plan_, claims, wrong);
  if (!wrong.ok()) throw CannotStart{2, wrong.render(), true};
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
  log_->add("fault.failed", {{"step", step.name}, {"fault", step.fault}, {"host", active.host->name}, {"error", refusal.text}});
  log_->add("error", {{"text", fmt::format("step \"{}\" on {}: {}", step.name, active.host->name, refusal.text)}});
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
  json::object request{{"do", "undo"}, {"step", active.fault->step->name}};
  auto reply = co_await active.host->link->ask(request);
  if (reply) note_undone(active, *reply);
}

asio::awaitable<void> Drill::undo_everything() {
  for (auto& active : active_)
    if (active.in_force && !active.over && !active.host->lost) co_await undo(active);
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
  if (!log_) return;
  if (what == "undone" && active) return note_undone(*active, event);
  json::object line = event;
  line.erase("event");
  line["host"] = host.name;
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

// Noticed before its lease would be over. Another link to the host looks what is the matter, on a thread of its own: probes go on.
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
  if (!found.reached) log_->add("error", {{"text", fmt::format("the injector on {} says nothing, and {}", host.name, found.text)}});
  if (!found.suspended) return;  // slow: what it says is read when it comes
  const auto now = wall_clock_ns();
  const auto text = fmt::format("the injector on {} was stopped or frozen, and nobody looked after its faults for {:.1f} s; {}", host.name, static_cast<double>(now - since) / 1e9, found.text);
  log_->add("error", {{"text", text}});
  for (auto& active : active_) {
    if (active.host != &host || !active.in_force || active.over) continue;
    log_->add("fault.event", {{"step", active.fault->step->name}, {"host", host.name}, {"what", "fault.unattended"}, {"happened_at", now}, {"why", text}});
    auto dose = active.dose.is_object() ? active.dose.get_object() : json::object{};
    dose["verified"] = false;
    dose["reason"] = text;
    note_undone(active, {{"undone_at", now}, {"why", "the injector was stopped or frozen"}, {"clean", found.clean}, {"dose", std::move(dose)}});
  }
  halt(fmt::format("the injector on {} was stopped or frozen", host.name), "host");
  wake_everybody();
}

// Whether the host is as found: by its own comparison with the snapshot, or, where the injector is gone without one, by what its
// guardian left in the journal.
asio::awaitable<void> Drill::restored(Host& host) {
  while (host.rescuer) {  // what it finds belongs in the record; it ends by itself
    asio::steady_timer timer(io_, 20ms);
    boost::system::error_code woken;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  if (!host.touched) co_return;
  json::object line{{"host", host.name}, {"clean", false}, {"differences", json::array{}}, {"left", json::array{}}};
  if (!host.lost) {
    if (auto bye = co_await host.link->ask({{"do", "bye"}})) {
      host.farewell = std::move(*bye);
      host.link->close();
    }
  }
  if (!host.farewell.empty()) {
    for (auto* key : {"clean", "differences", "see", "left", "ended"}) line[key] = host.farewell[key];
    log_->add("restored", std::move(line));
    co_return;
  }
  const auto recovered = recover_lost_host(host.spec, options_.link, host.session);
  line["clean"] = recovered.clean;
  line["left"] = recovered.left;
  line["note"] = fmt::format("the injector was lost; {} carried out its journal{}", recovered.by, recovered.costs);
  log_->add("restored", std::move(line));
}

}  // namespace squall
