// TCP, Redis and PostgreSQL: probes that hold a connection of their own.
#include <gtest/gtest.h>

#include "controller/probes/kinds.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/support/servers.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using test::ask;
using test::LoopbackServer;
using test::outcome;

class ConnectionProbes : public ::testing::Test {
 protected:
  std::string ask_once(Probe& probe) { return outcome(ask(loop_, probe)); }
  boost::asio::io_context loop_;
};

TEST_F(ConnectionProbes, tcp_is_healthy_while_somebody_accepts) {
  auto server = std::make_unique<LoopbackServer>(loop_, [](auto&) {});
  const auto by_address = tcp_probe(loop_, {.object = server->address()});
  const auto by_name = tcp_probe(loop_, {.object = "localhost:" + std::to_string(server->port())});
  EXPECT_EQ(ask_once(*by_address), "ok");
  EXPECT_EQ(ask_once(*by_name), "ok");
  server.reset();
  EXPECT_EQ(ask_once(*by_address), "connection refused");
  EXPECT_EQ(ask_once(*by_name), "connection refused");
  EXPECT_EQ(ask_once(*tcp_probe(loop_, {.object = "nowhere.invalid:1"})),
            "cannot resolve \"nowhere.invalid\"");
}

TEST_F(ConnectionProbes, an_endpoint_without_a_port_is_refused_at_once) {
  for (const std::string object : {"db1", "db1:", "db1:99999", ":80", "[::1]", "1.2.3.4:80x"})
    EXPECT_THROW(tcp_probe(loop_, {.object = object}), std::invalid_argument) << object;
}

constexpr auto kept = ProbeSpec::Connection::kept;

TEST_F(ConnectionProbes, each_question_is_a_new_user_unless_its_connection_is_kept) {
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    connection.received.clear();
    connection.send("+PONG\r\n");
  });
  const auto fresh = redis_probe(loop_, {.object = server.address()});
  for (int i = 1; i <= 4; ++i) {
    EXPECT_TRUE(ask(loop_, *fresh).opened);
    EXPECT_EQ(server.connections(), i);
  }
  const auto one = redis_probe(loop_, {.object = server.address(), .connection = kept});
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(ask(loop_, *one).opened, i == 0);
  EXPECT_EQ(server.connections(), 5);
}

TEST_F(ConnectionProbes, redis_pings_over_one_connection) {
  int pings = 0;
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    EXPECT_EQ(connection.received, "*1\r\n$4\r\nPING\r\n");
    connection.received.clear();
    ++pings;
    connection.send("+PONG\r\n");
  });
  const auto probe = redis_probe(loop_, {.object = server.address(), .connection = kept});
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(ask_once(*probe), "ok");
  EXPECT_EQ(pings, 4);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(ConnectionProbes, redis_answers_that_are_no_pong_are_failures) {
  std::string reply;
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    connection.received.clear();
    if (reply.empty())
      connection.close();
    else
      connection.send(reply);
  });
  const auto probe = redis_probe(loop_, {.object = server.address()});
  reply = "-LOADING Redis is loading the dataset in memory\r\n";
  EXPECT_EQ(ask_once(*probe), "LOADING Redis is loading the dataset in memory");
  reply = "HTTP/1.1 400 Bad Request\r\n\r\n";
  EXPECT_EQ(ask_once(*probe), "expected PONG, got \"HTTP/1.1 400 Bad Request\"");
  reply = std::string(10'000, 'z');
  EXPECT_EQ(ask_once(*probe), "expected PONG, got \"" + std::string(60, 'z') + "\"");
  reply = "";
  EXPECT_EQ(ask_once(*probe), "connection closed");
}

TEST_F(ConnectionProbes, a_real_redis_that_is_restarted_fails_one_probe_and_one_with_a_password_all) {
  test::Server redis = test::start_redis();
  const auto port = redis.process->port();
  const auto probe = redis_probe(loop_, {.object = redis.address(), .connection = kept});
  EXPECT_EQ(ask_once(*probe), "ok");
  redis.process->stop();
  redis = test::start_redis({}, port);
  EXPECT_NE(ask_once(*probe), "ok");
  EXPECT_EQ(ask_once(*probe), "ok");
  redis.process->stop();
  redis = test::start_redis({"--requirepass", "secret"}, port);
  EXPECT_NE(ask_once(*probe), "ok");
  EXPECT_EQ(ask_once(*probe), "NOAUTH Authentication required.");
}

TEST_F(ConnectionProbes, postgres_queries_over_one_connection_and_reconnects_after_it_was_lost) {
  test::Server server = test::start_postgres();
  const std::string uri = "postgresql://postgres@" + server.address() + "/postgres";
  const auto session = postgres_probe(
      loop_, {.object = uri, .connection = kept, .query = "create temporary table only_once(); select 1"});
  EXPECT_EQ(ask_once(*session), "ok");
  EXPECT_EQ(ask_once(*session), "relation \"only_once\" already exists");  // the same session
  const auto probe = postgres_probe(loop_, {.object = uri, .connection = kept});
  const auto anew = postgres_probe(loop_, {.object = uri, .query = "create temporary table only_once()"});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(ask_once(*anew), "ok") << "each in a session of its own";
  EXPECT_EQ(ask_once(*probe), "ok");
  test::run({"psql", uri, "-c",
             "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'squall'"});
  EXPECT_EQ(ask_once(*probe), "terminating connection due to administrator command");
  EXPECT_EQ(ask_once(*probe), "ok");
  EXPECT_EQ(ask_once(*postgres_probe(loop_, {.object = uri, .query = "select * from missing"})),
            "relation \"missing\" does not exist");
  EXPECT_EQ(ask_once(*postgres_probe(loop_, {.object = uri, .query = "copy (select 1) to stdout"})),
            "the query copies data: expected one that returns rows");
  EXPECT_EQ(
      ask_once(*postgres_probe(loop_, {.object = "postgresql://postgres@" + server.address() + "/shop"})),
      "database \"shop\" does not exist");
  const std::string by_name = "host=localhost user=postgres port=" + std::to_string(server.process->port());
  EXPECT_EQ(ask_once(*postgres_probe(loop_, {.object = by_name})), "ok");
  const auto slow = postgres_probe(loop_, {.object = uri, .query = "select pg_sleep(1000)"});
  {
    const auto given_up = slow->ask([](auto) { FAIL(); });
    loop_.run_for(std::chrono::milliseconds(100));
  }
  server.process->stop();
  EXPECT_EQ(ask_once(*probe), "terminating connection due to administrator command");
  EXPECT_EQ(ask_once(*probe), "connection refused");
  EXPECT_EQ(ask_once(*postgres_probe(loop_, {.object = "host=nowhere.invalid"})),
            "cannot resolve \"nowhere.invalid\"");
  EXPECT_THROW(postgres_probe(loop_, {.object = "postgresql://[::1"}), std::invalid_argument);
}

TEST_F(ConnectionProbes, a_question_that_is_given_up_never_answers) {
  LoopbackServer silent(loop_, [](auto&) {});
  const std::string uri = "postgresql://postgres@" + silent.address() + "/postgres";
  for (const auto& make : std::vector<std::function<std::unique_ptr<Probe>()>>{
           [&] { return tcp_probe(loop_, {.object = "nowhere.invalid:80"}); },
           [&] { return redis_probe(loop_, {.object = silent.address()}); },
           [&] { return postgres_probe(loop_, {.object = uri}); },
           [&] { return postgres_probe(loop_, {.object = "host=nowhere.invalid"}); }}) {
    for (const auto wait : {0, 1, 20}) {
      const auto probe = make();
      bool answered = false;
      {
        auto question = probe->ask([&](auto) { answered = true; });
        loop_.restart();
        loop_.run_for(std::chrono::milliseconds(wait));
      }
      const bool before = answered;
      loop_.restart();
      loop_.run_for(std::chrono::milliseconds(20));
      EXPECT_EQ(answered, before);
    }
  }
}

}  // namespace
}  // namespace squall
