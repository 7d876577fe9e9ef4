// The undo journal: what has to be put back, on disk before anything is changed.
//
// One file a session, <state>/journal/<session>.journal, prewritten with zeros so that a record needs neither room nor
// metadata, opened O_DSYNC so that a write that returned is on the disk (open(2)). A record is one line: the CRC-32 of the
// JSON in 8 hex digits, a blank, the JSON. All records of one apply go in one write. A torn last record is no record: what
// it announced was not done yet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "injector/host/process.hpp"
#include "injector/inverse.hpp"

namespace squall {

// What a journal says about one fault in force.
struct JournalledFault {
  std::string step, fault, mechanism, run;
  std::vector<std::string> claims;
  std::int64_t since = 0, until = 0;  // CLOCK_REALTIME, ns
};

struct JournalledInverse {
  std::uint64_t seq = 0;
  std::string step;
  Inverse inverse;
};

// A journal as somebody else finds it.
struct JournalContent {
  std::string path, session, boot;
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  std::vector<JournalledFault> faults;   // those not ended
  std::vector<JournalledInverse> open;   // not undone yet, in the order of their changes
  bool owner_alive() const;
};

class Journal {
 public:
  // Makes the file, prewritten and synced; throws std::runtime_error naming it where that fails (a full disk).
  Journal(const std::string& state, const std::string& session);
  Journal(const Journal&) = delete;

  // Writes all records in one durable write; throws where they do not fit or the disk fails. Nothing was changed then.
  void append(const std::vector<boost::json::object>& records);
  // Removes the file: everything is undone.
  void remove();
  const std::string& path() const { return path_; }
  std::uint64_t next_seq() { return ++seq_; }

 private:
  void extend();

  std::string path_;
  Fd fd_;
  std::int64_t end_ = 0, prewritten_ = 0;
  std::uint64_t seq_ = 0;
};

boost::json::object intent_record(std::uint64_t seq, const std::string& step, const Inverse&);
boost::json::object undone_record(std::uint64_t seq);
boost::json::object fault_record(const JournalledFault&);
boost::json::object ended_record(const std::string& step);

// Reads a journal as far as its records are whole; nothing where it has not even a beginning.
std::optional<JournalContent> read_journal(const std::string& path);
// Every journal below the state folder, in the order of their names.
std::vector<JournalContent> read_journals(const std::string& state);

// What could not be undone, for a person.
struct Left {
  std::string step, detail, by_hand;
  boost::json::object json() const;
};

// Carries out every open inverse of a dead session's journal, last change first, and removes the journal when nothing is
// left. Those of another boot are gone with it, except what is on disk.
std::vector<Left> carry_out(const JournalContent&);
// One inverse, tried again a few times where it failed; nothing where it is done.
std::optional<Left> carry_out(const std::string& step, const Inverse&);

}  // namespace squall
