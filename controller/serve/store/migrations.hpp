// The store's tables, step by step; a step that was released is never changed.
#pragma once

#include <array>
#include <string_view>

namespace squall::serve {

constexpr std::array<std::string_view, 1> migrations{R"sql(
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
  id TEXT PRIMARY KEY, drill TEXT NOT NULL, title TEXT NOT NULL, squad TEXT NOT NULL, services TEXT NOT NULL,
  squads TEXT NOT NULL, hash TEXT NOT NULL, started_by TEXT NOT NULL, schedule TEXT NOT NULL, due INTEGER NOT NULL,
  state TEXT NOT NULL, verdict TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', folder TEXT NOT NULL,
  exit_code INTEGER, pid INTEGER NOT NULL DEFAULT 0, born INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER NOT NULL, ended_at INTEGER);
CREATE INDEX runs_by_drill ON runs (drill, started_at);
CREATE INDEX runs_by_time ON runs (started_at);
CREATE INDEX runs_unfinished ON runs (state) WHERE state <> 'ended';
CREATE TABLE schedules (
  name TEXT PRIMARY KEY, definition TEXT NOT NULL, cursor INTEGER NOT NULL, paused_by TEXT NOT NULL DEFAULT '');
CREATE TABLE occurrences (
  schedule TEXT NOT NULL, due INTEGER NOT NULL, starts_at INTEGER NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '', decided_at INTEGER NOT NULL,
  PRIMARY KEY (schedule, due)) WITHOUT ROWID;
CREATE INDEX occurrences_by_time ON occurrences (due);
CREATE TABLE approvals (
  id INTEGER PRIMARY KEY AUTOINCREMENT, drill TEXT NOT NULL, hash TEXT NOT NULL, squad TEXT NOT NULL,
  by TEXT NOT NULL, given_at INTEGER NOT NULL, until INTEGER NOT NULL, withdrawn_at INTEGER, withdrawn_by TEXT);
CREATE TABLE freezes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, by TEXT NOT NULL, why TEXT NOT NULL, since INTEGER NOT NULL,
  until INTEGER NOT NULL, lifted_at INTEGER, lifted_by TEXT);
CREATE TABLE notes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gameday TEXT NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL,
  text TEXT NOT NULL);
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
  object TEXT NOT NULL, detail TEXT NOT NULL, remote TEXT NOT NULL);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
)sql"};

}  // namespace squall::serve
