#include "injector/maintenance.hpp"

#include <csignal>
#include <cstdio>
#include <thread>

#include <unistd.h>

#include <fmt/format.h>

#include "injector/carry_out.hpp"
#include "injector/host/host_text.hpp"
#include "injector/journal.hpp"
#include "injector/protocol.hpp"
#include "scenarios/times.hpp"

namespace squall {
namespace {

std::string told(const boost::json::value& value) { return valid_json(boost::json::serialize(value)); }

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
  for (auto& undo : undo_texts(journal, fault.step)) fmt::print("  undo: {}\n", printable(std::string(undo.as_string())));
}

int tell(const std::string& state, const Recovered& done, bool as_json) {
  auto& left = done.left;
  json::array remains, cost, carried_out(done.carried_out.begin(), done.carried_out.end());
  for (auto& one : left) remains.push_back(one.json());
  const auto costs = take_costs(state);
  for (auto& one : costs) cost.push_back(one.json());
  if (as_json) {
    fmt::print("{}\n", told(json::object{{"clean", left.empty()}, {"sessions", done.sessions}, {"carried_out", std::move(carried_out)},
                                                   {"left", std::move(remains)}, {"costs", std::move(cost)}}));
    return left.empty() ? 0 : 6;
  }
  for (auto& one : costs) fmt::print("when the injector of \"{}\" died: {}\n", one.step, one.text);
  if (left.empty()) {
    fmt::print("{}\n", done.sessions ? "undone; nothing of ours is left on this host" : "nothing is in force on this host");
  } else {
    fmt::print(stderr, "squall: error: this host could not be restored completely\n");
    for (auto& one : left) fmt::print(stderr, "  left by \"{}\": {}\n  by hand: {}\n", printable(one.step), printable(one.detail), valid_utf8(one.by_hand));
  }
  return left.empty() ? 0 : 6;
}

bool needs_root() {
  if (::geteuid() == 0) return false;
  fmt::print(stderr, "squall: error: undoing changes to a host needs root\n");
  return true;
}

// The guardian's turn, where there is one.
void wait_for_guardian(const std::string& journal) {
  for (int i = 0; i < 100 && ::access(journal.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds{20});
}

// Asks a live injector to leave; one that does not is killed, and its guardian undoes.
void end_injector(const JournalContent& journal) {
  auto pidfd = open_process(journal.pid, journal.start_ticks);
  if (!pidfd) return;
  signal_process(pidfd, undo_signal);
  if (wait_for_end(pidfd, 5000)) return;
  signal_process(pidfd, SIGKILL);
  if (wait_for_end(pidfd, 5000)) wait_for_guardian(journal.path);
}

}  // namespace

int show_status(const std::string& state, bool as_json) {
  json::array active;
  for (auto& journal : read_journals(state))
    for (auto& fault : journal.faults) {
      active.push_back(status_json(journal, fault));
      if (!as_json) print_status(journal, fault);
    }
  if (as_json)
    fmt::print("{}\n", told(json::object{{"active", std::move(active)}}));
  else if (active.empty())
    fmt::print("nothing is in force on this host\n");
  return 0;
}

int recover_host(const std::string& state, bool as_json) {
  if (needs_root()) return 5;
  return tell(state, recover(state), as_json);
}

int undo_host(const std::string& state, bool as_json) {
  if (needs_root()) return 5;
  Recovered done;
  for (auto& journal : read_journals(state)) {
    if (journal.owner_alive()) end_injector(journal);
    done.carry_out(journal);
  }
  return tell(state, done, as_json);
}

}  // namespace squall
