// The undo journal: what has to be put back, on disk before anything is changed.
//
// One file a session, <state>/journal/<session>.journal, prewritten with zeros so that a record needs neither
// room nor metadata, opened O_DSYNC so that a write that returned is on the disk (open(2)). A record is one
// line: the CRC-32 of the JSON in 8 hex digits, a blank, the JSON. All records of one apply go in one write.
// A last record without its end is no record: what it announced was not done yet. One that has its end and a
// wrong sum is damage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "injector/change/inverse.hpp"
#include "injector/system/process.hpp"

namespace squall {

// What a journal says about one fault in force.
struct JournalledFault {
  std::string step, fault, mechanism, run;
  std::vector<std::string> claims;
  std::int64_t since = 0, until = 0;    // CLOCK_REALTIME, ns; until 0: as long as its session lives
  std::uint64_t network_namespace = 0;  // of its injector, which the claims mean that name none
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
  std::vector<JournalledFault> faults;  // those not ended
  std::vector<JournalledInverse> open;  // not undone yet, in the order of their changes
  int damaged = 0;                      // records that were written whole and cannot be read
  std::string unreadable;               // why the file itself cannot be read
  std::int64_t end = 0;                 // behind the last whole record
  bool owner_alive() const;
  std::string state() const;  // the folder it lies below
};

class Journal {
 public:
  // Makes the file, prewritten and synced; throws std::runtime_error naming it where that fails (a full
  // disk).
  Journal(const std::string& state, const std::string& session);
  Journal(const Journal&) = delete;

  // Writes all records in one durable write, and sees to it that the room for the records that must follow
  // (an "undone" for each intent) is on disk before. Throws where they do not fit or the disk fails: none of
  // them counts then.
  void append(const std::vector<boost::json::object>& records);
  // Starts anew when much was written; only while every inverse is undone. Keeps what it has where the disk
  // is full. Whether it is another file now.
  bool compact();
  int descriptor() const { return fd_.get(); }
  // Removes the file: everything is undone.
  void remove();
  const std::string& path() const { return path_; }
  std::uint64_t next_seq() { return ++seq_; }

 private:
  void begin_file(const std::string& path);
  void extend();

  std::string folder_, session_, path_;
  Fd fd_;
  std::int64_t end_ = 0, prewritten_ = 0;
  std::uint64_t seq_ = 0;
  std::int64_t open_ = 0;  // intents and faults that a short record will close
};

std::string journal_path(const std::string& state, const std::string& session);
// Removes beginnings of journals that were never finished, of sessions that are dead.
void remove_unfinished_journals(const std::string& state);

boost::json::object intent_record(std::uint64_t seq, const std::string& step, const Inverse&);
boost::json::object undone_record(std::uint64_t seq);
boost::json::object fault_record(const JournalledFault&);
boost::json::object ended_record(const std::string& step);

// Reads what records of a journal are whole; nothing where there is none. One that cannot be read, or has no
// beginning, is damaged.
std::optional<JournalContent> read_journal(const std::string& path);
// The same of its bytes; nothing where they have not even a beginning.
std::optional<JournalContent> parse_journal(const std::string& path, std::string_view text);
// Every journal below the state folder but that of `except`, in the order of their names.
std::vector<JournalContent> read_journals(const std::string& state, const std::string& except = "");
// Adds "undone" to the journal of a dead session, in `file` where it is not to be found by its path.
void append_undone(const JournalContent&, const std::vector<std::uint64_t>& seqs,
                   const std::string& file = "");

}  // namespace squall
