#include "tests/stack/catalogue.hpp"

#include <fmt/format.h>
#include <boost/asio/post.hpp>

namespace squall::stack {

Catalogue::Catalogue(std::string connection_string, Histogram& latency)
    : connection_string_(std::move(connection_string)), latency_(latency) {}

Catalogue::~Catalogue() {
  pool_.stop();
  pool_.join();
  for (auto* connection : idle_)
    PQfinish(connection);
}

void Catalogue::find(unsigned id, Done done) {
  run("select body from playlists where id = $1", {std::to_string(id)}, std::move(done));
}

void Catalogue::save(unsigned id, std::string body, Done done) {
  run("insert into playlists (id, body) values ($1, $2) on conflict (id) do update set body = excluded.body",
      {std::to_string(id), std::move(body)}, std::move(done));
}

void Catalogue::count_play(unsigned id, Done done) {
  run("update playlists set plays = plays + 1 where id = $1", {std::to_string(id)}, std::move(done));
}

void Catalogue::run(const char* statement, std::vector<std::string> parameters, Done done) {
  boost::asio::post(pool_, [this, statement, parameters = std::move(parameters), done = std::move(done)] {
    const auto start = Clock::now();
    auto answer = ask(statement, parameters);
    latency_.observe(seconds_since(start));
    done(std::move(answer));
  });
}

PGconn* Catalogue::take() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto* connection = idle_.back();
      idle_.pop_back();
      return connection;
    }
  }
  return PQconnectdb(connection_string_.c_str());
}

Catalogue::Answer Catalogue::ask(const char* statement, const std::vector<std::string>& parameters) {
  std::vector<const char*> values;
  for (auto& one : parameters)
    values.push_back(one.c_str());
  auto* connection = take();
  if (PQstatus(connection) != CONNECTION_OK) PQreset(connection);
  auto* result = PQexecParams(connection, statement, static_cast<int>(values.size()), nullptr, values.data(),
                              nullptr, nullptr, 0);
  Answer answer = std::nullopt;
  const auto status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    answer = tl::unexpected(fmt::format("ask postgres: {}", PQerrorMessage(connection)));
  else if (PQntuples(result) > 0)
    answer = std::string(PQgetvalue(result, 0, 0));
  PQclear(result);
  std::lock_guard lock(mutex_);
  idle_.push_back(connection);
  return answer;
}

}  // namespace squall::stack
