// Rules that come and go while messages are under way, and the corners of HTTP/1.
#include <future>

#include "tests/proxy/http_under_test.hpp"

namespace squall {
namespace {

using namespace testing;

TEST_F(Http, the_end_of_a_rule_lets_what_is_under_way_be_what_it_was) {
  proxy.rule(rule(Act::abort));
  client.send("POST /hit HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + noise(50'000));
  EXPECT_TRUE(has(answer().first, " 503 "));
  proxy.no_rule();
  client.send(noise(50'000));
  EXPECT_TRUE(works()) << "the rest of an aborted body was taken for a request";
  EXPECT_TRUE(has(ask(get("/hit")).first, " 200 "));
}

TEST_F(Http, an_answer_reaches_whoever_still_sends_the_request) {
  proxy.rule(rule(Act::abort));
  for (auto* first : {"HTTP/1.1\r\nConnection: close", "HTTP/1.0", "HTTP/1.1\r\nExpect: 100-continue"}) {
    Client one{proxy.port()};
    one.send(fmt::format("POST /hit {}\r\nContent-Length: 8000000\r\n\r\n", first));
    one.send(std::string(8'000'000, 'x'));
    const auto all = one.rest();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 503 ") && all.ends_with("\r\n\r\nbroken")) << first << ": " << all;
    EXPECT_EQ(one.error, 0) << first;
  }
  Client idle{proxy.port()};
  idle.send("GET /hit HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(idle.rest().ends_with("broken"));
  EXPECT_TRUE(soon([&] { return proxy.statistics().open <= 1; }))
      << "who never closes is waited for for ever";
}

TEST_F(Http, what_is_delayed_leaves_when_the_rule_goes) {
  auto late = rule(Act::delay);
  late.delay = std::chrono::seconds{100};
  for (auto side : {Side::request, Side::response}) {
    late.side = side;
    proxy.rule(late);
    const auto before = proxy.statistics().http.done;
    client.send(get("/hit/1") + get("/2") + get("/hit/3"));
    const std::uint64_t held = before + 2;
    EXPECT_TRUE(soon([&] { return proxy.statistics().http.done == held; }));
    proxy.no_rule();
    for (auto* path : {"/hit/1", "/2", "/hit/3"})
      EXPECT_TRUE(has(answer().first, fmt::format("X-Of: {}", path)));
  }
  EXPECT_TRUE(proxy.statistics().down.held_ms.empty()) << "they were not held as long as was asked";
}

TEST_F(Http, what_is_delayed_waits_no_longer_than_a_new_rule_says) {
  auto late = rule(Act::delay, Side::response);
  const auto held_then = [&](std::chrono::milliseconds first, std::chrono::milliseconds then) {
    late.delay = first;
    proxy.rule(late);
    const auto before = proxy.statistics().http.done;
    client.send(get("/hit"));
    EXPECT_TRUE(soon([&] { return proxy.statistics().http.done == before + 1; }));
    late.delay = then;
    proxy.rule(late);
    EXPECT_TRUE(has(answer().first, "X-Of: /hit"));
  };
  held_then(std::chrono::seconds{100}, std::chrono::milliseconds{10});
  held_then(std::chrono::milliseconds{500},
            std::chrono::seconds{100});  // as on a ramp: what waits goes when it was to go
}

TEST_F(Http, an_answer_that_comes_after_the_rule_went_is_as_it_was) {
  for (auto act : {Act::delay, Act::abort, Act::body}) {
    std::promise<void> go;
    Upstream slow{[&](Client& one) {
      header_of(one);
      go.get_future().wait();
      one.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
    }};
    ProxyUnderTest other{slow.port(), 1, true};
    auto some = rule(act, Side::response);
    some.delay = std::chrono::seconds{100};
    other.rule(some);
    Client one{other.port()};
    one.send(get("/hit"));
    EXPECT_TRUE(soon([&] { return other.statistics().http.rolled == 1; }));
    other.no_rule();
    go.set_value();
    EXPECT_EQ(one.rest(), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
  }
}

TEST_F(Http, nothing_of_ours_is_added_to_an_answer_that_breaks_off) {
  for (const std::string half :
       {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "HTTP/1.0 200 OK\r\n\r\nup to the end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha"}) {
    Upstream breaks{[&](Client& one) {
      header_of(one);
      one.send(half);
    }};
    ProxyUnderTest other{breaks.port(), 1, true};
    other.rule(rule(Act::abort));
    Client one{other.port()};
    one.send(get("/1") + get("/hit"));
    EXPECT_EQ(one.rest(), half);
  }
}

TEST_F(Http, where_the_protocol_would_change_a_lost_answer_is_the_last_thing) {
  for (const std::string server_says :
       {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nframes",
        "HTTP/1.1 200 OK\r\n\r\nframes"}) {
    Upstream tunnel{[&](Client& one) {
      header_of(one);
      one.send(server_says);
      one.rest();
    }};
    ProxyUnderTest other{tunnel.port(), 1, true};
    other.rule(rule(Act::abort, Side::response, "*"));
    Client one{other.port()};
    one.send(has(server_says, "101") ? get("/chat", "Connection: Upgrade\r\nUpgrade: x\r\n")
                                     : "CONNECT hit:443 HTTP/1.1\r\nHost: hit\r\n\r\n");
    const auto all = one.rest();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 503 ") && has(all, "Connection: close") &&
                all.ends_with("\r\n\r\nbroken"))
        << all;
    EXPECT_EQ(one.error, 0);
  }
}

TEST_F(Http, a_client_of_http_1_0_keeps_the_connection_where_it_asked_to) {
  for (auto side : {Side::request, Side::response}) {
    proxy.rule(rule(Act::abort, side));
    const auto [header, body] = ask("GET /hit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(has(header, " 503 ") && has(header, "Connection: keep-alive\r\n")) << header;
    EXPECT_EQ(body, "broken");
  }
  EXPECT_TRUE(works());
}

TEST_F(Http, empty_lines_before_a_request_pass) {
  proxy.rule(rule(Act::abort));
  for (const std::string blank : {"\r\n", "\n", "\r\n\r\n"})
    EXPECT_TRUE(has(ask(blank + get("/hit")).first, " 503 "));
  client.send("POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n" + get("/hit") + "\r");
  client.send("\n" + get("/2"));
  for (auto* expected : {"X-Of: /1", " 503 ", "X-Of: /2"})
    EXPECT_TRUE(has(answer().first, expected)) << expected;
  std::string arrived;
  Upstream records{[&](Client& one) {
    arrived = header_of(one);
    one.send("HTTP/1.1 204 No Content\r\n\r\n");
    one.rest();
  }};
  ProxyUnderTest other{records.port(), 1, true};
  other.rule(rule(Act::abort));
  Client one{other.port()};
  // What follows a request that the server never saw is not seen by it either.
  one.send("\r\nPOST /hit HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n" + get("/2"));
  EXPECT_TRUE(has(header_of(one), " 503 "));
  EXPECT_EQ(one.bytes(6), "broken");
  EXPECT_TRUE(has(header_of(one), " 204 "));
  EXPECT_EQ(arrived, "\r\n" + get("/2"));
}

TEST_F(Http, long_headers_are_read) {
  proxy.rule(rule(Act::abort));
  const auto cookie = "Cookie: " + std::string(200'000, 'c') + "\r\n";
  EXPECT_TRUE(has(ask(get("/hit", cookie)).first, " 503 "));
  EXPECT_EQ(ask(get("/other", cookie)).second, get("/other", cookie));
}

TEST_F(Http, what_nobody_asked_for_passes_and_is_counted) {
  std::promise<void> go;
  Upstream unasked{[&](Client& one) {
    go.get_future().wait();
    one.send("hello");
    echo(one);
  }};
  ProxyUnderTest other{unasked.port(), 1, true};
  other.rule(rule(Act::abort));
  Client one{other.port()};
  const auto all = get("/hit"), begin = all.substr(0, 20);
  one.send(begin);
  EXPECT_TRUE(soon([&] { return other.statistics().up.received_bytes == begin.size(); }));
  go.set_value();
  EXPECT_EQ(one.bytes(5), "hello");
  one.send(all.substr(20));
  EXPECT_EQ(one.bytes(all.size()), all);
  EXPECT_EQ(other.statistics().http.other, 1U);
}

}  // namespace
}  // namespace squall
