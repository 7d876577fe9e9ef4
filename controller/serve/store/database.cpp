#include "controller/serve/store/database.hpp"

#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <sqlite3.h>

namespace squall::serve {
namespace {

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

[[noreturn]] void fail(sqlite3* handle, const std::string& what) {
  throw std::runtime_error(fmt::format("the store: {}: {}", what, sqlite3_errmsg(handle)));
}

Statement prepare(sqlite3* handle, const std::string& sql, const std::vector<Cell>& values) {
  sqlite3_stmt* made = nullptr;
  if (sqlite3_prepare_v2(handle, sql.c_str(), static_cast<int>(sql.size()), &made, nullptr) != SQLITE_OK)
    fail(handle, sql);
  Statement out{made};
  int place = 0;
  for (auto& value : values) {
    ++place;
    if (auto* number = std::get_if<std::int64_t>(&value))
      sqlite3_bind_int64(made, place, *number);
    else if (auto* text = std::get_if<std::string>(&value))
      sqlite3_bind_text(made, place, text->data(), static_cast<int>(text->size()), SQLITE_TRANSIENT);
    else
      sqlite3_bind_null(made, place);
  }
  return out;
}

}  // namespace

std::string Row::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : "";
}
std::int64_t Row::number(int column) const {
  return sqlite3_column_int64(statement_, column);
}
std::optional<std::int64_t> Row::maybe(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return {};
  return number(column);
}

Database::Database(const std::string& path) {
  if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) !=
      SQLITE_OK) {
    const std::string why = handle_ ? sqlite3_errmsg(handle_) : "no memory";
    sqlite3_close(handle_);
    throw std::runtime_error(fmt::format("the store {}: {}", path, why));
  }
  try {
    sqlite3_busy_timeout(handle_, 5000);
    script("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;");
  } catch (...) {
    sqlite3_close(handle_);
    throw;
  }
}

Database::~Database() {
  sqlite3_close(handle_);
}

std::int64_t Database::run(const std::string& sql, const std::vector<Cell>& values) {
  const auto statement = prepare(handle_, sql, values);
  if (const int code = sqlite3_step(statement.get()); code != SQLITE_DONE && code != SQLITE_ROW)
    fail(handle_, sql);
  return sqlite3_changes64(handle_);
}

void Database::each(const std::string& sql, const std::vector<Cell>& values,
                    const std::function<void(const Row&)>& take) {
  const auto statement = prepare(handle_, sql, values);
  int code;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW)
    take(Row{statement.get()});
  if (code != SQLITE_DONE) fail(handle_, sql);
}

void Database::script(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(handle_, sql);
}

void Database::together(const std::function<void()>& what) {
  script("BEGIN IMMEDIATE");
  try {
    what();
    script("COMMIT");
  } catch (...) {
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

}  // namespace squall::serve
