// What dead injectors left, whatever became of their state folders, and what others than this state folder's
// have in force.
#pragma once

#include "injector/undo/carry_out.hpp"
#include "injector/undo/host_sessions.hpp"

namespace squall {

// The sessions of a host that were brought to their end.
struct Recovered {
  int sessions = 0;
  std::vector<std::string>
      carried_out;  // those whose journal was carried out here, and not by their injector or its guardian
  std::vector<Left> left;
  // `held`: the journal, opened before its name may have gone.
  void carry_out(const JournalContent&, const Fd& held = Fd{});
};

// A journal that belongs to the state folder, and its file, held open whatever becomes of its name.
struct OwnJournal {
  JournalContent content;
  Fd file;
};
// Those below the folder, and those that live sessions of this folder hold although it is gone.
std::vector<OwnJournal> own_journals(const std::string& state);
// Carries out every journal of the state folder whose injector is dead.
Recovered recover(const std::string& state);

// Sessions of other state folders than this one that have something in force, or of which nobody knows it.
struct Elsewhere {
  HostSession session;
  std::optional<JournalContent> journal;
  // "\"slow\" (network.delay) of the run \"x\", by the state folder \"/tmp/s\""
  std::string text() const;
  std::string command(std::string_view verb) const;  // "squall undo --state '/tmp/s'"
};
std::vector<Elsewhere> elsewhere(const std::string& state);

}  // namespace squall
