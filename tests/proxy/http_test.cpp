// What rules do to HTTP/1 messages on live connections, and that everything else passes as it is.
#include <algorithm>
#include <cmath>

#include "tests/proxy/http_under_test.hpp"

namespace squall {
namespace {

using namespace testing;

TEST_F(Http, passes_byte_for_byte_however_it_is_cut) {
  proxy.rule(rule(Act::abort, Side::request, "/never"));
  const std::string all =
      get("/one") + "HEAD /two HTTP/1.1\r\nHost:    odd   \r\nX-a: 1\r\nx-A: 2\r\n\r\n" +
      "POST /three HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" +
      "POST /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n" +
      get("/nothing") + get("/bytes/100000") + get("/until-the-end");
  Client direct{server.port()};
  direct.send(all);
  const auto expected = direct.rest();
  for (std::size_t size : {1UL, 7UL, 1000UL}) {
    Client through{proxy.port()};
    std::thread sender{[&] {
      for (std::size_t i = 0; i < all.size(); i += size)
        through.send(all.substr(i, size));
    }};
    EXPECT_TRUE(through.rest() == expected) << "in pieces of " << size;
    sender.join();
  }
  const auto seen = proxy.statistics().http;
  EXPECT_EQ(seen.requests, 21U);
  EXPECT_EQ(seen.matched + seen.other, 0U);
}

TEST_F(Http, aborts_in_turn_among_pipelined_requests) {
  proxy.rule(rule(Act::abort));
  client.send(get("/1") + get("/hit/2?x") +
              "POST /hit/3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
              get("/chunked") + "HEAD /hit/5 HTTP/1.1\r\n\r\n" + get("/6"));
  EXPECT_TRUE(has(answer().first, "X-Of: /1"));
  for (int i : {2, 3}) {
    const auto [header, body] = answer();
    EXPECT_TRUE(header.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << i << header;
    EXPECT_EQ(body, "broken");
  }
  EXPECT_TRUE(has(answer().first, "X-Of: /chunked"));
  EXPECT_TRUE(has(answer(true).first, " 503 "));
  EXPECT_TRUE(has(answer().first, "X-Of: /6"));
  EXPECT_EQ(server.asked(), (std::vector<std::string>{"/1", "/chunked", "/6"}));
  const auto seen = proxy.statistics().http;
  EXPECT_EQ(seen.requests, 6U);
  EXPECT_EQ(seen.matched, 3U);
  EXPECT_EQ(seen.done, 3U);
}

TEST_F(Http, an_answer_can_be_lost_after_the_work_was_done) {
  proxy.rule(rule(Act::abort, Side::response));
  client.send(get("/hit/1") + get("/bytes/70000") + "HEAD /hit/2 HTTP/1.1\r\n\r\n");
  EXPECT_EQ(answer().second, "broken");
  EXPECT_EQ(answer().second, noise(70000));
  EXPECT_TRUE(has(answer(true).first, " 503 "));
  EXPECT_TRUE(works());
  EXPECT_EQ(server.asked().size(), 4U) << "the server did not get them all";
}

TEST_F(Http, aborts_for_clients_that_would_ask_first_and_for_those_that_ask_once) {
  proxy.rule(rule(Act::abort));
  client.send("PUT /hit HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
  const auto [header, body] = answer();
  EXPECT_TRUE(has(header, " 503 ") && has(header, "Connection: close")) << header;
  EXPECT_EQ(client.rest(), "");
  Client old{proxy.port()};
  old.send("GET /hit HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.rest().ends_with("\r\n\r\nbroken"));
  EXPECT_EQ(old.error, 0);
}

TEST_F(Http, continue_and_upgrade_pass) {
  proxy.rule(rule(Act::headers, Side::response));
  client.send("PUT /hit HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(header_of(client), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("abc");
  EXPECT_TRUE(has(answer().first, "X-Of: /hit"));
  client.send(get("/upgrade"));
  EXPECT_TRUE(has(header_of(client), "101"));
  const auto sent = get("/hit") + noise(100'000);
  std::thread sender{[&] { client.send(sent); }};
  EXPECT_TRUE(client.bytes(sent.size()) == sent);
  sender.join();
  EXPECT_EQ(proxy.statistics().http.requests, 2U);
  EXPECT_EQ(proxy.statistics().http.other, 0U);
}

TEST_F(Http, headers_are_set_and_removed_on_either_side) {
  auto change = rule(Act::headers);
  change.set = {{"X-Trace", "none"}, {"Host", "elsewhere"}};
  change.remove = {"authorization"};
  proxy.rule(change);
  const auto seen_by_server =
      ask(get("/hit", "Authorization: secret\r\nAccept: a\r\nX-Trace: 1\r\nx-trace: 2\r\n")).second;
  EXPECT_EQ(seen_by_server, "GET /hit HTTP/1.1\r\nAccept: a\r\nX-Trace: none\r\nHost: elsewhere\r\n\r\n");
  change.side = Side::response;
  change.set = {{"Retry-After", "5"}};
  change.remove = {"X-Of"};
  proxy.rule(change);
  const auto [header, body] = ask(get("/hit"));
  EXPECT_EQ(header,
            fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nRetry-After: 5\r\n\r\n", body.size()));
  EXPECT_TRUE(works());
}

TEST_F(Http, bodies_are_replaced_on_either_side) {
  auto change = rule(Act::body, Side::response, "/*ch*");
  proxy.rule(change);
  auto [header, body] = ask(get("/chunked"));
  EXPECT_EQ(body, "broken");
  EXPECT_TRUE(has(header, "Content-Length: 6\r\n") && has(header, "Content-Type: text/plain") &&
              !has(header, "Encoding"))
      << header;
  EXPECT_TRUE(works());
  EXPECT_TRUE(has(ask("HEAD /chunked HTTP/1.1\r\n\r\n", true).first, "Encoding: chunked"))
      << "what has no body stays";
  change = rule(Act::body);
  proxy.rule(change);
  const auto at_server =
      ask("POST /hit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").second;
  EXPECT_EQ(at_server, "POST /hit HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nbroken");
  EXPECT_TRUE(works());
  EXPECT_TRUE(has(ask(get("/hit")).second, get("/hit")));
}

TEST_F(Http, truncates_answers_with_a_length_in_chunks_and_up_to_the_end) {
  auto cut = rule(Act::truncate, Side::response, "*");
  cut.keep_bytes = 10;
  proxy.rule(cut);
  const auto [header, body] = ask(get("/bytes/10"));
  EXPECT_EQ(body, noise(10)) << "as long as what is kept: nothing to cut";
  ask("HEAD /chunked HTTP/1.1\r\n\r\n", true);
  ask(get("/nothing"));
  EXPECT_EQ(proxy.statistics().http.unchanged, 3U);
  for (auto* path : {"/bytes/100000", "/chunked", "/until-the-end"}) {
    Client other{proxy.port()};
    other.send(get(path));
    header_of(other);
    EXPECT_EQ(other.rest().size(), 10U) << path;
  }
  EXPECT_EQ(proxy.statistics().http.unchanged, 3U);
  cut.keep_bytes = 1000;
  proxy.rule(cut);
  ask(get("/chunked"));
  Client to_the_end{proxy.port()};
  to_the_end.send(get("/until-the-end"));
  EXPECT_TRUE(to_the_end.rest().ends_with(get("/until-the-end")));
  EXPECT_EQ(proxy.statistics().http.unchanged, 5U) << "bodies whose length nobody said, and that are short";
  cut.keep_bytes = 0;
  proxy.rule(cut);
  Client other{proxy.port()};
  other.send(get("/bytes/5"));
  const auto all = other.rest();
  EXPECT_TRUE(has(all, "Content-Length: 5") && all.ends_with("\r\n\r\n")) << all;
  EXPECT_EQ(proxy.statistics().http.done, 4U);
}

TEST_F(Http, delays_by_turns_and_tells_how_long) {
  auto late = rule(Act::delay, Side::response);
  late.delay = std::chrono::milliseconds{150};
  proxy.rule(late);
  const auto begin = std::chrono::steady_clock::now();
  client.send(get("/1") + get("/hit") + get("/3"));
  for (auto* path : {"/1", "/hit", "/3"}) {
    EXPECT_TRUE(has(answer().first, fmt::format("X-Of: {}", path)));
    const auto ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    if (path != std::string_view("/1")) EXPECT_GE(ms, 150) << path;
  }
  const auto seen = proxy.statistics();
  ASSERT_EQ(seen.down.held_ms.size(), 1U);
  EXPECT_GE(seen.down.held_ms.front(), 150);
  late.side = Side::request;
  proxy.rule(late);
  ask(get("/hit"));
  EXPECT_GE(proxy.statistics().up.held_ms.at(0), 150);
}

TEST_F(Http, the_share_is_as_asked_and_the_seed_repeats_it) {
  std::string who[2];
  for (auto& hit : who) {
    ProxyUnderTest seeded{server.port(), 7, true};
    auto some = rule(Act::abort);
    some.share = 0.3;
    seeded.rule(some);
    Client one{seeded.port()};
    for (int i = 0; i < 400; ++i) {
      one.send(get("/hit"));
      const auto header = header_of(one);
      body_of(one, header);
      hit += has(header, " 503 ") ? 'x' : '.';
    }
  }
  EXPECT_EQ(who[0], who[1]);
  const auto count = static_cast<double>(std::count(who[0].begin(), who[0].end(), 'x'));
  EXPECT_NEAR(count, 120, 4 * std::sqrt(400 * 0.3 * 0.7));
}

TEST_F(Http, aims_by_method_path_and_header) {
  auto some = rule(Act::abort, Side::request, "/api/*");
  some.methods = {"GET", "DELETE"};
  some.headers = {{"X-Env", "staging*"}, {"Host", "*"}};
  proxy.rule(some);
  auto status = [&](const std::string& request) { return ask(request).first.substr(9, 3); };
  EXPECT_EQ(status(get("/api/a/b?c=d", "x-env: staging-2\r\n")), "503");
  EXPECT_EQ(status(get("http://host/api/x", "X-Env: staging\r\n")), "503");
  EXPECT_EQ(status(get("/other?/api/", "X-Env: staging\r\n")), "200");
  EXPECT_EQ(status(get("/api/a", "X-Env: production\r\n")), "200");
  EXPECT_EQ(status(get("/api/a")), "200");
  EXPECT_EQ(status("PUT /api/a HTTP/1.1\r\nHost: a\r\nX-Env: staging\r\nContent-Length: 0\r\n\r\n"), "200");
}

TEST_F(Http, anything_else_passes_unread) {
  Upstream echo_server{echo};
  ProxyUnderTest other{echo_server.port(), 1, true};
  other.rule(rule(Act::abort, Side::request, "*"));
  for (const auto& text :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") + noise(50'000),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("PING\r\n"), noise(200'000)}) {
    Client one{other.port()};
    std::thread sender{[&] {
      one.send(text);
      one.send_no_more();
    }};
    EXPECT_TRUE(one.rest() == text) << text.substr(0, 20);
    sender.join();
  }
  EXPECT_EQ(other.statistics().http.other, 4U);
  EXPECT_EQ(other.statistics().http.requests, 0U);
}

}  // namespace
}  // namespace squall
