#include "injector/undo/recovery.hpp"

#include <set>

#include <fcntl.h>

#include <fmt/format.h>

namespace squall {

void Recovered::carry_out(const JournalContent& journal, const Fd& held) {
  bool by_us = false;
  ++sessions;
  auto remains = held ? carry_out_journal(held, journal.path, find_undo_verb, &by_us)
                      : carry_out_journal(journal.path, find_undo_verb, &by_us);
  for (auto& one : remains)
    left.push_back(std::move(one));
  if (by_us) carried_out.push_back(journal.session);
}

std::vector<OwnJournal> own_journals(const std::string& state) {
  std::vector<OwnJournal> out;
  std::set<std::string> there;
  for (auto& content : read_journals(state)) {
    there.insert(content.session);
    Fd file{::open(content.path.c_str(), O_RDWR | O_CLOEXEC)};
    out.push_back({std::move(content), std::move(file)});
  }
  const auto own = canonical(state);
  for (auto& session : host_sessions()) {
    if (session.state != own || there.contains(session.session) || (session.ended && session.clean)) continue;
    const auto held = held_journal(session);
    Fd file{held.empty() ? -1 : ::open(held.c_str(), O_RDWR | O_CLOEXEC)};
    if (auto content = file ? journal_of(session) : std::nullopt)
      out.push_back({std::move(*content), std::move(file)});
  }
  return out;
}

Recovered recover(const std::string& state) {
  Recovered out;
  remove_unfinished_journals(state);
  for (auto& journal : own_journals(state))
    if (!journal.content.owner_alive()) out.carry_out(journal.content, journal.file);
  return out;
}

std::string Elsewhere::text() const {
  const auto run = journal && !journal->faults.empty() ? journal->faults.front().run : "";
  const auto who =
      run.empty() ? fmt::format("the session {}", session.session) : fmt::format("the run \"{}\"", run);
  const auto where = fmt::format("of {}, by the state folder \"{}\"", who, session.state);
  if (!journal && session.owner_alive())
    return fmt::format("what is in force {}: its journal cannot be read from here", where);
  if (!journal)
    return fmt::format("what may be left {}: its journal is gone, and nobody says what became of it", where);
  std::string faults;
  for (auto& fault : journal->faults)
    faults += fmt::format("{}\"{}\" ({})", faults.empty() ? "" : ", ", fault.step, fault.fault);
  return fmt::format("{} {}{}", faults.empty() ? "what is not undone yet" : faults, where,
                     session.owner_alive() ? "" : ", whose injector is dead");
}

std::string Elsewhere::command(std::string_view verb) const {
  return fmt::format("squall {} --state '{}'", verb, session.state);
}

std::vector<Elsewhere> elsewhere(const std::string& state) {
  std::vector<Elsewhere> out;
  std::set<std::string> here;
  for (auto& [journal, file] : own_journals(state))
    here.insert(journal.session);
  for (auto& session : host_sessions()) {
    if (here.contains(session.session) || (session.ended && session.clean)) continue;
    auto journal = journal_of(session);
    if (journal && journal->faults.empty() && journal->open.empty()) continue;  // it is at rest
    out.push_back({std::move(session), std::move(journal)});
  }
  return out;
}

}  // namespace squall
