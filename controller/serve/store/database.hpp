// An SQLite database: statements with their values bound, never pasted. sqlite3 stays inside this pair.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace squall::serve {

using Cell = std::variant<std::nullptr_t, std::int64_t, std::string>;

// A row of an answer, by the place of its columns.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  std::string text(int column) const;
  std::int64_t number(int column) const;
  std::optional<std::int64_t> maybe(int column) const;

 private:
  sqlite3_stmt* statement_;
};

class Database {
 public:
  // Opens or makes it: WAL, every commit on the disk (synchronous=FULL), five seconds of patience with other
  // processes. Throws std::runtime_error naming the file.
  explicit Database(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Each throws std::runtime_error with SQLite's own words. `run` gives how many rows it changed.
  std::int64_t run(const std::string& sql, const std::vector<Cell>& values = {});
  void each(const std::string& sql, const std::vector<Cell>& values, const std::function<void(const Row&)>&);
  void script(const std::string& sql);
  // All of it or nothing.
  void together(const std::function<void()>&);

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace squall::serve
