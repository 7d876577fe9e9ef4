#include "controller/http/client.hpp"

#include <gtest/gtest.h>

#include "tests/support/loopback_server.hpp"

namespace squall::http {
namespace {

using namespace std::chrono_literals;
using test::http_answer;
using test::http_answers;
using test::LoopbackServer;

// Runs the loop until the answer is there; an answer that never comes fails the test.
Answer ask(boost::asio::io_context& loop, Client& client, Request request) {
  std::optional<Answer> got;
  client.get(std::move(request), [&](Answer answer) { got = std::move(answer); });
  EXPECT_FALSE(got) << "the handler ran inside the call";
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  loop.restart();
  while (!got && std::chrono::steady_clock::now() < deadline)
    loop.run_one_for(100ms);
  EXPECT_TRUE(got) << "no answer within 20 s";
  return got.value_or(Answer{});
}

class HttpClient : public ::testing::Test {
 protected:
  boost::asio::io_context loop_;
};

TEST_F(HttpClient, an_answer_carries_status_body_and_growing_phases) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200, "all is well"); }));
  Client client(loop_);
  const Answer answer = ask(loop_, client, {.url = server.url()});
  EXPECT_TRUE(answer.ok);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "all is well");
  EXPECT_GT(answer.connect, 0ns);
  EXPECT_LE(answer.connect, answer.first_byte);
  EXPECT_LE(answer.first_byte, answer.total);
  EXPECT_EQ(answer.tls, 0ns);
}

TEST_F(HttpClient, any_status_is_an_answer_and_redirects_are_not_followed) {
  LoopbackServer server(loop_, http_answers([](const std::string& request) {
                          return request.starts_with("GET /moved")
                                     ? http_answer(302, "", "Location: /elsewhere\r\n")
                                     : http_answer(503);
                        }));
  Client client(loop_);
  EXPECT_EQ(ask(loop_, client, {.url = server.url("/moved")}).status, 302);
  const Answer busy = ask(loop_, client, {.url = server.url("/elsewhere")});
  EXPECT_TRUE(busy.ok);
  EXPECT_EQ(busy.status, 503);
}

TEST_F(HttpClient, connections_are_reused_unless_a_fresh_one_is_asked_for) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  Client client(loop_);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(ask(loop_, client, {.url = server.url()}).ok);
  EXPECT_EQ(server.connections(), 1);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(ask(loop_, client, {.url = server.url(), .fresh_connection = true}).ok);
  EXPECT_EQ(server.connections(), 4);
}

TEST_F(HttpClient, a_reused_connection_that_the_server_closed_is_replaced) {
  LoopbackServer::Connection* last = nullptr;
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    last = &connection;
    connection.send(http_answer(200));
    connection.received.clear();
  });
  Client client(loop_);
  EXPECT_TRUE(ask(loop_, client, {.url = server.url()}).ok);
  last->close();
  EXPECT_TRUE(ask(loop_, client, {.url = server.url()}).ok);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(HttpClient, method_headers_and_body_arrive) {
  std::string heard;
  LoopbackServer server(loop_, [&](LoopbackServer::Connection& connection) {
    heard = connection.received;
    if (heard.ends_with("{}")) connection.send(http_answer(200));
  });
  Client client(loop_);
  EXPECT_TRUE(
      ask(loop_, client, {.url = server.url("/x"), .method = "PUT", .headers = {"X-Who: me"}, .body = "{}"})
          .ok);
  EXPECT_TRUE(heard.starts_with("PUT /x HTTP/1.1\r\n")) << heard;
  EXPECT_NE(heard.find("X-Who: me\r\n"), std::string::npos) << heard;
  EXPECT_NE(heard.find("Content-Length: 2\r\n"), std::string::npos) << heard;
}

TEST_F(HttpClient, a_server_that_never_answers_times_out_and_not_early) {
  LoopbackServer server(loop_, [](auto&) {});
  Client client(loop_);
  const auto before = std::chrono::steady_clock::now();
  const Answer answer = ask(loop_, client, {.url = server.url(), .timeout = 150ms});
  EXPECT_FALSE(answer.ok);
  EXPECT_EQ(answer.error, "timed out after 150ms");
  EXPECT_GE(std::chrono::steady_clock::now() - before, 150ms);
}

TEST_F(HttpClient, failures_are_told_in_few_words) {
  LoopbackServer closes(loop_, [](auto& connection) { connection.close(); });
  LoopbackServer large(loop_, http_answers([](auto&) { return http_answer(200, std::string(5000, 'x')); }));
  std::uint16_t nobody = 0;
  {
    nobody = LoopbackServer(loop_, [](auto&) {}).port();
  }
  Client client(loop_);
  EXPECT_EQ(ask(loop_, client, {.url = "http://127.0.0.1:" + std::to_string(nobody)}).error,
            "connection refused");
  EXPECT_EQ(ask(loop_, client, {.url = closes.url()}).error, "connection closed without an answer");
  EXPECT_EQ(ask(loop_, client, {.url = large.url(), .largest_answer = 4096}).error,
            "answer larger than 4KiB");
  EXPECT_EQ(ask(loop_, client, {.url = "file:///etc/passwd"}).error,
            "expected an http or https URL, got \"file:///etc/passwd\"");
  EXPECT_EQ(ask(loop_, client, {.url = ""}).error, "expected a URL, got \"\"");
  EXPECT_EQ(ask(loop_, client, {.url = "http://nowhere.invalid/"}).error,
            "cannot resolve \"nowhere.invalid\"");
}

TEST_F(HttpClient, a_proxy_of_the_environment_is_not_asked_for_loopback) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  Client client(loop_);
  EXPECT_TRUE(ask(loop_, client, {.url = server.url()}).ok);
  ::unsetenv("http_proxy");
}

TEST_F(HttpClient, destroying_the_client_gives_up_what_is_in_flight) {
  LoopbackServer server(loop_, [](auto&) {});
  bool called = false;
  {
    Client client(loop_);
    for (int i = 0; i < 5; ++i)
      client.get({.url = server.url()}, [&](Answer) { called = true; });
    for (int i = 0; i < 50 && server.connections() < 5; ++i)
      loop_.run_one_for(100ms);
    EXPECT_EQ(server.connections(), 5);
    client.get({.url = "http://nowhere.invalid/"},
               [](Answer) {});  // in its resolver's thread, or just out of it
    loop_.run_for(1ms);
    client.get({.url = server.url()}, [&](Answer) { called = true; });  // not even begun
  }
  loop_.run_for(100ms);
  EXPECT_FALSE(called);
}

TEST_F(HttpClient, a_request_that_is_given_up_closes_its_connection_and_no_other) {
  LoopbackServer server(loop_, [](auto& connection) {
    if (connection.received.starts_with("GET /slow")) return;
    connection.received.clear();
    connection.send(http_answer(200));
  });
  Client client(loop_);
  bool called = false;
  const auto slow = client.get({.url = server.url("/slow")}, [&](Answer) { called = true; });
  EXPECT_TRUE(ask(loop_, client, {.url = server.url("/fast")}).ok);
  client.give_up(slow);
  client.give_up(slow);
  EXPECT_TRUE(ask(loop_, client, {.url = server.url("/fast")}).ok);
  EXPECT_EQ(server.connections(), 2);
  EXPECT_FALSE(called);
}

TEST_F(HttpClient, a_handler_may_ask_again_and_may_destroy_the_client) {
  LoopbackServer server(loop_, http_answers([](auto&) { return http_answer(200); }));
  auto client = std::make_unique<Client>(loop_);
  int answers = 0;
  std::function<void(Answer)> again = [&](Answer answer) {
    EXPECT_TRUE(answer.ok) << answer.error;
    if (++answers < 10)
      client->get({.url = server.url()}, again);
    else
      client.reset();
  };
  client->get({.url = server.url()}, again);
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (client && std::chrono::steady_clock::now() < deadline)
    loop_.run_one_for(100ms);
  EXPECT_EQ(answers, 10);
  EXPECT_FALSE(client);
}

}  // namespace
}  // namespace squall::http
