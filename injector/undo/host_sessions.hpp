// What the injectors of this host say of themselves in one fixed place, whatever state folder each was given:
// so that they see each other's claims, and nobody says "nothing is in force" who does not know.
//
// One file a session, /run/squall/<session>.json, from before its first change until everything of it is
// undone. Where its injector died it says what became of it. A file that stayed behind blocks nobody: what is
// claimed is what a journal says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/undo/journal.hpp"

namespace squall {

struct HostSession {
  std::string session, state, boot;
  pid_t pid = 0, guardian = 0;
  std::uint64_t ticks = 0, guardian_ticks = 0;  // their start times
  std::uint64_t device = 0, inode = 0;          // of the journal
  bool ended = false, clean = false;  // its journal was carried out when it was dead, and nothing was left
  bool owner_alive() const;
  bool guardian_alive() const;
};

// These throw std::runtime_error where /run/squall cannot be written.
void note_session(const HostSession&);
// Held from the look at other injectors' claims until ours are in the journal.
Fd take_host_lock();
// What became of it when its injector had died: its journal was carried out, and whether nothing was left.
// Never throws.
void end_session(const std::string& session, bool clean) noexcept;
// Never throws.
void forget_session(const std::string& session);
// Those of another boot, and those that ended well a minute ago and more: whoever asks what became of them
// asks at once.
void forget_old_sessions();

// A state folder's one name.
std::string canonical(const std::string& path);

// Of this boot, in the order of their names.
std::vector<HostSession> host_sessions(const std::string& except = "");
std::optional<HostSession> host_session(const std::string& name);

// Its journal: by its path, or where that is gone from the process that holds it. Nothing where nobody has
// it.
std::optional<JournalContent> journal_of(const HostSession&);
// A file name that leads to the journal though its own is gone; "" where nobody holds it.
std::string held_journal(const HostSession&);

// The journals below the state folder, and those of other state folders on this host, but that of the session
// `except`.
std::vector<JournalContent> read_host_journals(const std::string& state, const std::string& except = "");
}  // namespace squall
