#include "controller/serve/store/store.hpp"

#include <stdexcept>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/serve/store/migrations.hpp"

namespace squall::serve {
namespace {

namespace json = boost::json;

std::string listed(const std::vector<std::string>& all) {
  return json::serialize(json::value_from(all));
}
std::vector<std::string> unlisted(const std::string& text) {
  return json::value_to<std::vector<std::string>>(json::parse(text));
}

constexpr const char* run_columns =
    "id, drill, title, squad, services, squads, hash, started_by, schedule, due, state, verdict, detail, "
    "folder, "
    "exit_code, pid, born, started_at, ended_at";

StoredRun run_of(const Row& row) {
  StoredRun out;
  out.id = row.text(0), out.drill = row.text(1), out.title = row.text(2), out.squad = row.text(3);
  out.services = unlisted(row.text(4)), out.squads = unlisted(row.text(5));
  out.hash = row.text(6), out.started_by = row.text(7), out.schedule = row.text(8), out.due = row.number(9);
  out.state = row.text(10), out.verdict = row.text(11), out.detail = row.text(12), out.folder = row.text(13);
  out.exit_code = row.maybe(14), out.pid = row.number(15), out.born = row.number(16);
  out.started_at = row.number(17), out.ended_at = row.maybe(18);
  return out;
}

Cell cell(const std::optional<std::int64_t>& number) {
  return number ? Cell{*number} : Cell{nullptr};
}

}  // namespace

Store::Store(const std::string& path) : database_(path) {
  migrate();
}

void Store::migrate() {
  std::int64_t version = 0;
  database_.each("PRAGMA user_version", {}, [&](const Row& row) { version = row.number(0); });
  if (version > static_cast<std::int64_t>(migrations.size()))
    throw std::runtime_error(fmt::format("the store is of a newer Squall (version {}; this one knows {})",
                                         version, migrations.size()));
  for (auto step = static_cast<std::size_t>(version); step < migrations.size(); ++step)
    database_.together([&] {
      database_.script(std::string(migrations[step]));
      database_.script(fmt::format("PRAGMA user_version={}", step + 1));
    });
}

void Store::add_run(const StoredRun& run) {
  database_.run(
      fmt::format("INSERT INTO runs ({}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", run_columns),
      {run.id, run.drill, run.title, run.squad, listed(run.services), listed(run.squads), run.hash,
       run.started_by, run.schedule, run.due, run.state, run.verdict, run.detail, run.folder,
       cell(run.exit_code), run.pid, run.born, run.started_at, cell(run.ended_at)});
}

void Store::run_began(const std::string& id, std::int64_t pid, std::int64_t born) {
  database_.run("UPDATE runs SET state='running', pid=?, born=? WHERE id=?", {pid, born, id});
}

void Store::run_ended(const StoredRun& run) {
  database_.run("UPDATE runs SET state='ended', verdict=?, detail=?, exit_code=?, ended_at=? WHERE id=?",
                {run.verdict, run.detail, cell(run.exit_code), cell(run.ended_at), run.id});
}

std::optional<StoredRun> Store::run(const std::string& id) {
  std::optional<StoredRun> out;
  database_.each(fmt::format("SELECT {} FROM runs WHERE id=?", run_columns), {id},
                 [&](const Row& row) { out = run_of(row); });
  return out;
}

std::vector<StoredRun> Store::runs(std::int64_t most, const std::string& drill) {
  std::vector<StoredRun> out;
  auto take = [&](const Row& row) { out.push_back(run_of(row)); };
  if (drill.empty())
    database_.each(fmt::format("SELECT {} FROM runs ORDER BY started_at DESC, id DESC LIMIT ?", run_columns),
                   {most}, take);
  else
    database_.each(fmt::format("SELECT {} FROM runs WHERE drill=? ORDER BY started_at DESC, id DESC LIMIT ?",
                               run_columns),
                   {drill, most}, take);
  return out;
}

std::vector<StoredRun> Store::unfinished() {
  std::vector<StoredRun> out;
  database_.each(fmt::format("SELECT {} FROM runs WHERE state<>'ended' ORDER BY started_at", run_columns), {},
                 [&](const Row& row) { out.push_back(run_of(row)); });
  return out;
}

bool Store::claim(const std::string& schedule, std::int64_t due, std::int64_t starts_at, std::int64_t now) {
  return database_.run(
             "INSERT OR IGNORE INTO occurrences (schedule, due, starts_at, state, decided_at) "
             "VALUES (?,?,?,'claimed',?)",
             {schedule, due, starts_at, now}) == 1;
}

void Store::skip(const std::string& schedule, std::int64_t due, const std::string& reason, std::int64_t now) {
  database_.run(
      "INSERT INTO occurrences (schedule, due, starts_at, state, reason, decided_at) "
      "VALUES (?,?,?,'skipped',?,?) ON CONFLICT (schedule, due) DO UPDATE SET state='skipped', "
      "reason=excluded.reason, decided_at=excluded.decided_at WHERE state='claimed'",
      {schedule, due, due, reason, now});
}

void Store::begin_occurrence(const StoredRun& run, std::int64_t now) {
  database_.together([&] {
    add_run(run);
    if (database_.run(
            "UPDATE occurrences SET state='started', run=?, decided_at=? WHERE schedule=? AND due=? "
            "AND state='claimed'",
            {run.id, now, run.schedule, run.due}) != 1)
      throw std::runtime_error("this occurrence was decided by somebody else");
  });
}

std::vector<Occurrence> Store::occurrences(std::int64_t most, const std::string& schedule) {
  std::vector<Occurrence> out;
  database_.each(
      "SELECT schedule, due, starts_at, state, reason, run, decided_at FROM occurrences WHERE "
      "?1='' OR schedule=?1 ORDER BY due DESC LIMIT ?2",
      {schedule, most}, [&](const Row& row) {
        out.push_back({row.text(0), row.text(3), row.text(4), row.text(5), row.number(1), row.number(2),
                       row.number(6)});
      });
  return out;
}

std::vector<Occurrence> Store::claimed() {
  std::vector<Occurrence> out;
  database_.each("SELECT schedule, due FROM occurrences WHERE state='claimed'", {}, [&](const Row& row) {
    auto& one = out.emplace_back();
    one.schedule = row.text(0), one.due = row.number(1);
  });
  return out;
}

std::int64_t Store::cursor(const std::string& schedule, const std::string& definition, std::int64_t now) {
  database_.run(
      "INSERT INTO schedules (name, definition, cursor) VALUES (?1,?2,?3) ON CONFLICT (name) DO "
      "UPDATE SET definition=?2, cursor=max(cursor, ?3) WHERE definition<>?2",
      {schedule, definition, now});
  std::int64_t out = now;
  database_.each("SELECT cursor FROM schedules WHERE name=?", {schedule},
                 [&](const Row& row) { out = row.number(0); });
  return out;
}

void Store::move_cursor(const std::string& schedule, std::int64_t to) {
  database_.run("UPDATE schedules SET cursor=?2 WHERE name=?1 AND cursor<?2", {schedule, to});
}

std::string Store::paused_by(const std::string& schedule) {
  std::string out;
  database_.each("SELECT paused_by FROM schedules WHERE name=?", {schedule},
                 [&](const Row& row) { out = row.text(0); });
  return out;
}

void Store::pause(const std::string& schedule, const std::string& by) {
  database_.run("UPDATE schedules SET paused_by=? WHERE name=?", {by, schedule});
}

void Store::approve(const Approval& one) {
  database_.run("INSERT INTO approvals (drill, hash, squad, by, given_at, until) VALUES (?,?,?,?,?,?)",
                {one.drill, one.hash, one.squad, one.by, one.given_at, one.until});
}

std::int64_t Store::withdraw(const std::string& drill, const std::string& squad, const std::string& by,
                             std::int64_t now) {
  return database_.run(
      "UPDATE approvals SET withdrawn_at=?, withdrawn_by=? WHERE drill=? AND squad=? AND "
      "withdrawn_at IS NULL AND until>?",
      {now, by, drill, squad, now});
}

std::vector<Approval> Store::approvals(const std::string& drill, std::int64_t now) {
  std::vector<Approval> out;
  database_.each(
      "SELECT id, drill, hash, squad, by, given_at, until FROM approvals WHERE drill=? AND "
      "withdrawn_at IS NULL AND until>? ORDER BY id",
      {drill, now}, [&](const Row& row) {
        out.push_back({row.number(0), row.number(5), row.number(6), row.text(1), row.text(2), row.text(3),
                       row.text(4)});
      });
  return out;
}

std::optional<Freeze> Store::frozen(std::int64_t now) {
  std::optional<Freeze> out;
  database_.each(
      "SELECT id, since, until, by, why FROM freezes WHERE lifted_at IS NULL AND (until=0 OR "
      "until>?) ORDER BY id LIMIT 1",
      {now}, [&](const Row& row) {
        out = Freeze{row.number(0), row.number(1), row.number(2), row.text(3), row.text(4)};
      });
  return out;
}

void Store::freeze(const Freeze& one) {
  database_.run("INSERT INTO freezes (by, why, since, until) VALUES (?,?,?,?)",
                {one.by, one.why, one.since, one.until});
}

std::int64_t Store::lift(const std::string& by, std::int64_t now) {
  return database_.run("UPDATE freezes SET lifted_at=?, lifted_by=? WHERE lifted_at IS NULL", {now, by});
}

void Store::audit(const AuditEntry& one) {
  database_.run("INSERT INTO audit (at, who, what, object, detail, remote) VALUES (?,?,?,?,?,?)",
                {one.at, one.who, one.what, one.object, one.detail, one.remote});
}

std::vector<AuditEntry> Store::audits(std::int64_t most) {
  std::vector<AuditEntry> out;
  database_.each("SELECT id, at, who, what, object, detail, remote FROM audit ORDER BY id DESC LIMIT ?",
                 {most}, [&](const Row& row) {
                   out.push_back({row.number(0), row.number(1), row.text(2), row.text(3), row.text(4),
                                  row.text(5), row.text(6)});
                 });
  return out;
}

void Store::note(const Note& one) {
  database_.run("INSERT INTO notes (gameday, at, who, text) VALUES (?,?,?,?)",
                {one.gameday, one.at, one.who, one.text});
}

std::vector<Note> Store::notes(const std::string& gameday) {
  std::vector<Note> out;
  database_.each("SELECT id, at, gameday, who, text FROM notes WHERE gameday=? ORDER BY id", {gameday},
                 [&](const Row& row) {
                   out.push_back({row.number(0), row.number(1), row.text(2), row.text(3), row.text(4)});
                 });
  return out;
}

std::string Store::setting(const std::string& key, const std::string& otherwise) {
  database_.run("INSERT OR IGNORE INTO settings (key, value) VALUES (?,?)", {key, otherwise});
  std::string out;
  database_.each("SELECT value FROM settings WHERE key=?", {key}, [&](const Row& row) { out = row.text(0); });
  return out;
}

}  // namespace squall::serve
