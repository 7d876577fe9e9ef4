#include "injector/session/maintenance.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include <unistd.h>

#include <fmt/format.h>

#include "injector/session/protocol.hpp"
#include "injector/system/host_text.hpp"
#include "injector/system/read_file.hpp"
#include "injector/system/suspended.hpp"
#include "injector/undo/carry_out.hpp"
#include "injector/undo/journal.hpp"
#include "injector/undo/recovery.hpp"
#include "scenarios/schema/times.hpp"

namespace squall {
namespace {

std::string told(const boost::json::value& value) {
  return valid_json(boost::json::serialize(value));
}

namespace json = boost::json;

json::array undo_texts(const JournalContent& journal, const std::string& step) {
  json::array out;
  for (auto it = journal.open.rbegin(); it != journal.open.rend(); ++it) {
    if (it->step != step) continue;
    auto* verb = find_undo_verb(it->inverse.verb);
    out.emplace_back(verb ? verb->describe(it->inverse.with) : it->inverse.verb);
  }
  return out;
}

json::object status_json(const JournalContent& journal, const JournalledFault& fault) {
  return {{"step", fault.step},
          {"fault", fault.fault},
          {"session", journal.session},
          {"run", fault.run},
          {"pid", journal.pid},
          {"since", rfc3339(fault.since)},
          {"until", fault.until ? json::value(rfc3339(fault.until)) : json::value{}},
          {"mechanism", fault.mechanism},
          {"owner_alive", journal.owner_alive()},
          {"undo", undo_texts(journal, fault.step)}};
}

void print_status(const JournalContent& journal, const JournalledFault& fault) {
  const auto left = std::max<std::int64_t>(fault.until - wall_ns(), 0) / 1'000'000'000;
  fmt::print("{} ({}) by {}\n  {}\n", fault.step, fault.fault, fault.mechanism,
             !journal.owner_alive() ? "its injector is dead: `squall undo` puts it back"
             : fault.until          ? fmt::format("held by squall-injector[{}], {}s left", journal.pid, left)
                           : fmt::format("held by squall-injector[{}], until it is undone", journal.pid));
  for (auto& undo : undo_texts(journal, fault.step))
    fmt::print("  undo: {}\n", printable(std::string(undo.as_string())));
}

json::array elsewhere_json(const std::vector<Elsewhere>& others) {
  json::array out;
  for (auto& other : others)
    out.push_back(json::object{{"session", other.session.session},
                               {"state", other.session.state},
                               {"text", other.text()},
                               {"undo", other.command("undo")}});
  return out;
}

void print_elsewhere(const std::vector<Elsewhere>& others) {
  for (auto& other : others)
    fmt::print("{}\n  see {}, undo it by {}\n", other.text(), other.command("status"), other.command("undo"));
}

// Sessions of this state folder of which nobody knows what they left: told once.
void take_unknown(const std::string& state, std::vector<Elsewhere>& others, std::vector<Left>& left) {
  std::erase_if(others, [&](auto& other) {
    if (other.journal || other.session.owner_alive() || other.session.state != canonical(state)) return false;
    left.push_back({"", other.text(), "look the host over: compare it with one that is as this one was"});
    forget_session(other.session.session);
    return true;
  });
}

// Those whose journal was carried out to its end when they were dead.
json::array ended_json() {
  json::array out;
  for (auto& session : host_sessions())
    if (session.ended && session.clean) out.emplace_back(session.session);
  return out;
}

std::string nothing_in_force(const std::string& state, const std::vector<Elsewhere>& others) {
  if (!others.empty())
    return fmt::format("nothing of the state folder \"{}\" is in force on this host", state);
  return "nothing is in force on this host";
}

int tell(const std::string& state, Recovered done, bool as_json) {
  auto& left = done.left;
  auto others = elsewhere(state);
  take_unknown(state, others, left);
  json::array remains, cost, carried_out(done.carried_out.begin(), done.carried_out.end());
  for (auto& one : left)
    remains.push_back(one.json());
  const auto costs = take_costs(state);
  for (auto& one : costs)
    cost.push_back(one.json());
  if (as_json) {
    fmt::print("{}\n", told(json::object{{"clean", left.empty()},
                                         {"sessions", done.sessions},
                                         {"carried_out", std::move(carried_out)},
                                         {"left", std::move(remains)},
                                         {"costs", std::move(cost)},
                                         {"ended", ended_json()},
                                         {"elsewhere", elsewhere_json(others)}}));
    return left.empty() ? 0 : 6;
  }
  for (auto& one : costs)
    fmt::print("when the injector of \"{}\" died: {}\n", one.step, one.text);
  if (left.empty()) {
    fmt::print("{}\n",
               done.sessions && others.empty() ? "undone; nothing of ours is left on this host"
               : done.sessions
                   ? fmt::format("undone; nothing of the state folder \"{}\" is left on this host", state)
                   : nothing_in_force(state, others));
  } else {
    fmt::print(stderr, "squall: error: this host could not be restored completely\n");
    for (auto& one : left)
      fmt::print(stderr, "  left by \"{}\": {}\n  by hand: {}\n", printable(one.step), printable(one.detail),
                 valid_utf8(one.by_hand));
  }
  print_elsewhere(others);
  return left.empty() ? 0 : 6;
}

bool needs_root() {
  if (::geteuid() == 0) return false;
  fmt::print(stderr, "squall: error: undoing changes to a host needs root\n");
  return true;
}

// One that is asked to leave, undoes, and may take its time: how long it may stand still meanwhile.
constexpr int patience_ms = 5000, look_ms = 50, surely_ms = 500;

std::size_t still_open(const Fd& file, const JournalContent& of) {
  const auto text = read_file(fmt::format("/proc/self/fd/{}", file.get()));
  const auto now = text ? parse_journal(of.path, *text) : std::nullopt;
  return now ? now->open.size() + now->faults.size() : 0;
}

bool stands_still(pid_t injector) {
  for (int waited = 0; waited <= surely_ms; waited += look_ms) {
    if (!suspended(injector)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{look_ms});
  }
  return true;
}

// Whether it has undone all, or ended; false where nothing of it changes any more. One that is stopped or
// frozen will not.
bool leaves_by_itself(const JournalContent& journal, const Fd& file, const Fd& injector) {
  auto open = still_open(file, journal);
  int stands_still = 0;
  while (stands_still < patience_ms) {
    if (wait_for_end(injector, look_ms)) return true;
    const auto now = still_open(file, journal);
    stands_still = now < open ? 0 : stands_still + look_ms;
    open = now;
    // A debugger's stop at each system call is none.
    if (stands_still >= surely_ms && suspended(journal.pid)) return false;
  }
  return open == 0;  // then it has only to say goodbye
}

// Asks a live injector to leave. One that cannot is killed; its guardian undoes, or we do where that one
// cannot either.
void end_injector(const JournalContent& journal, const Fd& file, int signal) {
  const auto pidfd = open_process(journal.pid, journal.start_ticks);
  if (!pidfd) return;
  signal_process(pidfd, signal);
  // Awake it does it in better order than anybody else could: packets that wait go on.
  signal_process(pidfd, SIGCONT);
  if (leaves_by_itself(journal, file, pidfd)) return;
  signal_process(pidfd, SIGKILL);
  if (!wait_for_end(pidfd, 500)) leave_frozen_group(journal.pid);
  wait_for_end(pidfd, patience_ms);
}

// One that is stopped or frozen cannot end by itself, and has nothing left to do.
void end_guardian(const std::optional<HostSession>& of) {
  if (!of || of->owner_alive() || !of->guardian_alive() || !suspended(of->guardian)) return;
  const auto pidfd = open_process(of->guardian, of->guardian_ticks);
  if (!pidfd) return;
  signal_process(pidfd, SIGKILL);
  leave_frozen_group(of->guardian);
}

// Ends what lives of a session, and carries out what is left of its journal.
void end_own(const OwnJournal& own, int signal, Recovered& done) {
  const auto known = host_session(own.content.session);
  if (own.content.owner_alive()) end_injector(own.content, own.file, signal);
  done.carry_out(own.content, own.file);
  end_guardian(known);
}

}  // namespace

int show_status(const std::string& state, bool as_json) {
  if (const auto folder = state + "/journal"; ::access(folder.c_str(), R_OK | X_OK) != 0 && errno != ENOENT) {
    fmt::print(stderr, "squall: error: look into \"{}\": {}; what is in force is not known\n", folder,
               std::strerror(errno));
    return 5;
  }
  json::array active, damaged;
  for (auto& [journal, file] : own_journals(state)) {
    for (auto& fault : journal.faults) {
      active.push_back(status_json(journal, fault));
      if (!as_json) print_status(journal, fault);
    }
    if (journal.damaged == 0 || journal.owner_alive()) continue;
    damaged.emplace_back(journal.path);
    if (!as_json)
      fmt::print(
          "the undo journal \"{}\" is damaged: `squall undo` carries out what can be read of it, and tells\n",
          journal.path);
  }
  const auto others = elsewhere(state);
  if (as_json) {
    fmt::print("{}\n", told(json::object{{"active", std::move(active)},
                                         {"damaged", std::move(damaged)},
                                         {"elsewhere", elsewhere_json(others)}}));
    return 0;
  }
  if (active.empty() && damaged.empty()) fmt::print("{}\n", nothing_in_force(state, others));
  print_elsewhere(others);
  return 0;
}

int recover_host(const std::string& state, bool as_json) {
  if (needs_root()) return 5;
  return tell(state, recover(state), as_json);
}

int rescue_session(const std::string& state, const std::string& session) {
  if (needs_root()) return 5;
  Recovered done;
  for (auto& journal : own_journals(state)) {
    if (journal.content.session != session) continue;
    if (journal.content.owner_alive() && !stands_still(journal.content.pid)) {
      fmt::print("{}\n", json::serialize(json::object{{"suspended", false}}));
      return 0;
    }
    end_own(journal, SIGTERM, done);
  }
  return tell(state, std::move(done), true);
}

int undo_host(const std::string& state, bool as_json) {
  if (needs_root()) return 5;
  Recovered done;
  for (auto& journal : own_journals(state))
    end_own(journal, undo_signal, done);
  return tell(state, std::move(done), as_json);
}

}  // namespace squall
