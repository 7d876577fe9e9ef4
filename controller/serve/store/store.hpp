// What happened: runs, occurrences of schedules, approvals, freezes, and who did what. All times are seconds
// since 1970 UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/serve/store/database.hpp"

namespace squall::serve {

struct StoredRun {
  std::string id, drill, title, squad, hash, started_by, schedule;
  std::vector<std::string> services, squads;
  std::string state;  // starting, running, ended
  std::string verdict, detail, folder;
  std::optional<std::int64_t> exit_code, ended_at;
  std::int64_t pid = 0, born = 0;  // of its process; born: in clock ticks since boot
  std::int64_t due = 0;            // of the schedule's occurrence
  std::int64_t started_at = 0;
};

struct Occurrence {
  std::string schedule, state, reason, run;  // state: claimed, started, skipped
  std::int64_t due = 0, starts_at = 0, decided_at = 0;
};

struct Approval {
  std::int64_t id = 0, given_at = 0, until = 0;
  std::string drill, hash, squad, by;
};

struct Freeze {
  std::int64_t id = 0, since = 0, until = 0;  // until: 0, to be lifted by hand
  std::string by, why;
};

struct AuditEntry {
  std::int64_t id = 0, at = 0;
  std::string who, what, object, detail, remote;
};

struct Note {
  std::int64_t id = 0, at = 0;
  std::string gameday, who, text;
};

class Store {
 public:
  // Brings an older one up to date; throws std::runtime_error where it is of a newer Squall.
  explicit Store(const std::string& path);

  void add_run(const StoredRun&);
  void run_began(const std::string& id, std::int64_t pid, std::int64_t born);
  void run_ended(const StoredRun&);
  std::optional<StoredRun> run(const std::string& id);
  // The newest first.
  std::vector<StoredRun> runs(std::int64_t most, const std::string& drill = "");
  std::vector<StoredRun> unfinished();

  // False where this occurrence has been claimed before: by whomever, whenever.
  bool claim(const std::string& schedule, std::int64_t due, std::int64_t starts_at, std::int64_t now);
  void skip(const std::string& schedule, std::int64_t due, const std::string& reason, std::int64_t now);
  // The run and its occurrence, both or neither.
  void begin_occurrence(const StoredRun&, std::int64_t now);
  std::vector<Occurrence> occurrences(std::int64_t most, const std::string& schedule = "");
  std::vector<Occurrence> claimed();

  // Until when occurrences were decided; set to `now` where the schedule is new or was changed.
  std::int64_t cursor(const std::string& schedule, const std::string& definition, std::int64_t now);
  void move_cursor(const std::string& schedule, std::int64_t to);
  std::string paused_by(const std::string& schedule);  // "" where it is not
  void pause(const std::string& schedule, const std::string& by);

  void approve(const Approval&);
  std::int64_t withdraw(const std::string& drill, const std::string& squad, const std::string& by,
                        std::int64_t now);
  std::vector<Approval> approvals(const std::string& drill, std::int64_t now);

  std::optional<Freeze> frozen(std::int64_t now);
  void freeze(const Freeze&);
  std::int64_t lift(const std::string& by, std::int64_t now);

  void audit(const AuditEntry&);
  std::vector<AuditEntry> audits(std::int64_t most);

  void note(const Note&);
  std::vector<Note> notes(const std::string& gameday);

  std::string setting(const std::string& key, const std::string& otherwise);  // kept from then on
  Database& database() { return database_; }

 private:
  void migrate();
  Database database_;
};

}  // namespace squall::serve
