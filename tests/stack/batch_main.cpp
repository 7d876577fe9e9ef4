// squall-batch CONNECTION_STRING FILE: writes the ten most played playlists to FILE every second. Nobody
// restarts it when it dies, and no alert watches how old its file is: there is one such service in most
// companies.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <libpq-fe.h>

namespace {

constexpr auto interval = std::chrono::seconds{1};
constexpr auto statement =
    "select id, plays, body::json->>'title' from playlists order by plays desc, id limit 10";

bool write_top_list(PGresult* rows, const std::string& file) {
  const auto draft = file + ".new";
  {
    std::ofstream out(draft);
    for (int row = 0; row < PQntuples(rows); ++row)
      out << fmt::format("{} {} {}\n", PQgetvalue(rows, row, 0), PQgetvalue(rows, row, 1),
                         PQgetvalue(rows, row, 2));
    if (!out.flush()) return false;
  }
  std::error_code error;
  std::filesystem::rename(draft, file, error);
  return !error;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: squall-batch CONNECTION_STRING FILE\n");
    return 2;
  }
  auto* connection = PQconnectdb(argv[1]);
  for (auto next = std::chrono::steady_clock::now();; next += interval) {
    std::this_thread::sleep_until(next);
    if (PQstatus(connection) != CONNECTION_OK) PQreset(connection);
    auto* rows = PQexec(connection, statement);
    if (PQresultStatus(rows) != PGRES_TUPLES_OK)
      fmt::print(stderr, "squall-batch: {}", PQerrorMessage(connection));
    else if (!write_top_list(rows, argv[2]))
      fmt::print(stderr, "squall-batch: write {}: failed\n", argv[2]);
    PQclear(rows);
  }
}
