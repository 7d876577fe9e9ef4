// URLs with host names: each look-up opens and closes descriptors of its own, whose numbers the connection
// gets next.
#include <gtest/gtest.h>

#include <unistd.h>

#include <boost/asio/steady_timer.hpp>

#include "controller/http/client.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/support/own_names.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall::http {
namespace {

using namespace std::chrono_literals;
using test::LoopbackServer;

class HttpNames : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "names of its own need root";
    names.emplace(
        "127.0.0.1 web.test\n::1 both.test\n127.0.0.1 both.test\n127.0.0.1 more.test\n127.0.0.3 more.test\n");
  }
  // Answers 350 ms after it was asked: later than libcurl looks of its own accord, 200 ms after it began to
  // connect.
  LoopbackServer::Heard slowly() {
    return [this](LoopbackServer::Connection& connection) {
      if (!connection.received.ends_with("\r\n\r\n")) return;
      connection.received.clear();
      auto timer = std::make_shared<boost::asio::steady_timer>(loop, 350ms);
      timer->async_wait([timer, kept = connection.shared_from_this()](auto) {
        kept->send(test::http_answer(200, "ok", "Connection: close\r\n"));
      });
    };
  }
  Answer get(Client& client, const std::string& url, bool fresh) {
    std::optional<Answer> got;
    client.get({.url = url, .timeout = 10s, .fresh_connection = fresh},
               [&](Answer answer) { got = std::move(answer); });
    EXPECT_TRUE(test::run_until(loop, [&] { return got.has_value(); }));
    return got.value_or(Answer{});
  }

  boost::asio::io_context loop;
  std::optional<testing::OwnNames> names;
};

TEST_F(HttpNames, the_first_connection_after_each_look_up_is_watched) {
  LoopbackServer server(loop, slowly());
  Client client(loop);
  for (const std::string name : {"web.test", "both.test", "more.test"})
    for (const bool fresh : {true, false})
      for (int i = 0; i < 2; ++i) {
        const auto url = "http://" + name + ":" + std::to_string(server.port()) + "/";
        const auto answer = get(client, url, fresh);
        EXPECT_TRUE(answer.ok) << url << ": " << answer.error;
        EXPECT_TRUE(answer.opened) << "the server closes each";
        // Unwatched, it would be looked at again after 10 s.
        EXPECT_LT(answer.total, 5s) << url;
      }
}

// Many at once, so that the numbers of many look-ups are on their way to many connections.
TEST_F(HttpNames, and_so_are_those_of_many_at_once) {
  LoopbackServer server(loop, slowly());
  Client client(loop);
  std::vector<Answer> answers;
  for (int i = 0; i < 40; ++i)
    client.get({.url = "http://web.test:" + std::to_string(server.port()) + "/",
                .timeout = 10s,
                .fresh_connection = true},
               [&](Answer answer) { answers.push_back(std::move(answer)); });
  ASSERT_TRUE(test::run_until(loop, [&] { return answers.size() == 40; }));
  for (auto& answer : answers)
    EXPECT_TRUE(answer.ok && answer.total < 5s) << answer.error << " " << answer.total.count();
}

TEST_F(HttpNames, a_new_connection_looks_its_name_up_anew) {
  LoopbackServer server(loop, slowly());
  Client client(loop);
  const auto url = "http://web.test:" + std::to_string(server.port()) + "/";
  EXPECT_TRUE(get(client, url, true).ok);
  names->become("127.0.0.1 other.test\n");
  for (const bool fresh : {true, false}) {
    const auto answer = get(client, url, fresh);
    EXPECT_FALSE(answer.ok);
    EXPECT_EQ(answer.error, "cannot resolve \"web.test\"");
    EXPECT_FALSE(answer.not_asked);
  }
}

}  // namespace
}  // namespace squall::http
