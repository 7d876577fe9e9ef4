// What rules do to HTTP/1 messages on live connections, and that everything else passes as it is.
#include <algorithm>
#include <cmath>
#include <mutex>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/proxy/proxy_under_test.hpp"

namespace squall {
namespace {

using namespace testing;
using proxy::HttpRule;
using Act = HttpRule::Act;
using Side = HttpRule::Side;

// Up to the empty line; "" at the end.
std::string header_of(Client& client) {
  std::string out;
  while (!out.ends_with("\r\n\r\n")) {
    const auto one = client.bytes(1);
    if (one.empty()) return "";
    out += one;
  }
  return out;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string chunked_body(Client& client) {
  std::string out;
  for (;;) {
    std::string line;
    while (!line.ends_with("\r\n")) line += client.bytes(1);
    const auto size = std::stoul(line, nullptr, 16);
    out += client.bytes(size);
    client.bytes(2);
    if (size == 0) return out;
  }
}
std::string body_of(Client& client, const std::string& header) {
  if (has(header, "Transfer-Encoding: chunked")) return chunked_body(client);
  const auto at = header.find("Content-Length: ");
  return at == std::string::npos ? "" : client.bytes(std::stoul(header.substr(at + 16)));
}

// Answers every request with its own header and body: chunked where the path says so, as long as asked ("/bytes/1000").
class HttpServer {
 public:
  std::vector<std::string> asked() {
    std::lock_guard lock{mutex_};
    return asked_;
  }
  std::uint16_t port() const { return server_.port(); }

 private:
  void serve(Client& client) {
    for (std::string header; !(header = header_of(client)).empty();) {
      if (has(header, "100-continue")) client.send("HTTP/1.1 100 Continue\r\n\r\n");
      const auto body = body_of(client, header);
      const auto path = header.substr(header.find(' ') + 1, header.find(" HTTP") - header.find(' ') - 1);
      {
        std::lock_guard lock{mutex_};
        asked_.push_back(path);
      }
      if (path == "/upgrade") {
        client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
        return echo(client);
      }
      if (path == "/nothing") {
        client.send("HTTP/1.1 204 No Content\r\nX-Of: nothing\r\n\r\n");
        continue;
      }
      auto answer = header + body;
      if (path.starts_with("/bytes/")) answer = noise(std::stoul(path.substr(7)));
      if (path == "/until-the-end") {
        client.send("HTTP/1.1 200 OK\r\nX-Of: end\r\n\r\n" + answer);
        return;
      }
      std::string out = "HTTP/1.1 200 OK\r\nX-Of: " + path + "\r\n";
      const bool head = header.starts_with("HEAD");
      if (path == "/chunked")
        out += "Transfer-Encoding: chunked\r\nContent-Encoding: none\r\n\r\n" + (head ? "" : fmt::format("5\r\nfirst\r\n{:x};why=not\r\n{}\r\n0\r\n\r\n", answer.size(), answer));
      else
        out += fmt::format("Content-Length: {}\r\n\r\n{}", answer.size(), head ? "" : answer);
      client.send(out);
    }
  }
  std::mutex mutex_;
  std::vector<std::string> asked_;
  Upstream server_{[this](Client& client) { serve(client); }};
};

std::string get(const std::string& path, const std::string& more = "") { return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, more); }

class Http : public ::testing::Test {
 protected:
  HttpServer server;
  ProxyUnderTest proxy{server.port(), 1, true};
  Client client{proxy.port()};

  std::pair<std::string, std::string> answer(bool head = false) {
    auto header = header_of(client);
    auto body = head ? "" : body_of(client, header);
    return {header, body};
  }
  std::pair<std::string, std::string> ask(const std::string& request, bool head = false) {
    client.send(request);
    return answer(head);
  }
  bool works() { return has(ask(get("/after")).first, "X-Of: /after"); }
};

// Looks until it is so; 20 s at most.
template <class F>
bool soon(F is_so) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

HttpRule rule(Act act, Side side = Side::request, const std::string& path = "/hit*") {
  HttpRule out;
  out.act = act;
  out.side = side;
  out.path = path;
  out.status = 503;
  out.body = "broken";
  out.content_type = "text/plain";
  return out;
}

TEST_F(Http, passes_byte_for_byte_however_it_is_cut) {
  proxy.rule(rule(Act::abort, Side::request, "/never"));
  const std::string all = get("/one") + "HEAD /two HTTP/1.1\r\nHost:    odd   \r\nX-a: 1\r\nx-A: 2\r\n\r\n" + "POST /three HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" +
                          "POST /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n" + get("/nothing") + get("/bytes/100000") + get("/until-the-end");
  Client direct{server.port()};
  direct.send(all);
  const auto expected = direct.rest();
  for (std::size_t size : {1UL, 7UL, 1000UL}) {
    Client through{proxy.port()};
    std::thread sender{[&] {
      for (std::size_t i = 0; i < all.size(); i += size) through.send(all.substr(i, size));
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
  client.send(get("/1") + get("/hit/2?x") + "POST /hit/3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get("/chunked") + "HEAD /hit/5 HTTP/1.1\r\n\r\n" + get("/6"));
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
  const auto seen_by_server = ask(get("/hit", "Authorization: secret\r\nAccept: a\r\nX-Trace: 1\r\nx-trace: 2\r\n")).second;
  EXPECT_EQ(seen_by_server, "GET /hit HTTP/1.1\r\nAccept: a\r\nX-Trace: none\r\nHost: elsewhere\r\n\r\n");
  change.side = Side::response;
  change.set = {{"Retry-After", "5"}};
  change.remove = {"X-Of"};
  proxy.rule(change);
  const auto [header, body] = ask(get("/hit"));
  EXPECT_EQ(header, fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nRetry-After: 5\r\n\r\n", body.size()));
  EXPECT_TRUE(works());
}

TEST_F(Http, bodies_are_replaced_on_either_side) {
  auto change = rule(Act::body, Side::response, "/*ch*");
  proxy.rule(change);
  auto [header, body] = ask(get("/chunked"));
  EXPECT_EQ(body, "broken");
  EXPECT_TRUE(has(header, "Content-Length: 6\r\n") && has(header, "Content-Type: text/plain") && !has(header, "Encoding")) << header;
  EXPECT_TRUE(works());
  EXPECT_TRUE(has(ask("HEAD /chunked HTTP/1.1\r\n\r\n", true).first, "Encoding: chunked")) << "what has no body stays";
  change = rule(Act::body);
  proxy.rule(change);
  const auto at_server = ask("POST /hit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").second;
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
    const auto ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
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
  for (const auto& text : {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") + noise(50'000), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("PING\r\n"), noise(200'000)}) {
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
  EXPECT_TRUE(soon([&] { return proxy.statistics().open <= 1; })) << "who never closes is waited for for ever";
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
    for (auto* path : {"/hit/1", "/2", "/hit/3"}) EXPECT_TRUE(has(answer().first, fmt::format("X-Of: {}", path)));
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
  held_then(std::chrono::milliseconds{500}, std::chrono::seconds{100});  // as on a ramp: what waits goes when it was to go
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
  for (const std::string half : {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "HTTP/1.0 200 OK\r\n\r\nup to the end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha"}) {
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
  for (const std::string server_says : {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nframes", "HTTP/1.1 200 OK\r\n\r\nframes"}) {
    Upstream tunnel{[&](Client& one) {
      header_of(one);
      one.send(server_says);
      one.rest();
    }};
    ProxyUnderTest other{tunnel.port(), 1, true};
    other.rule(rule(Act::abort, Side::response, "*"));
    Client one{other.port()};
    one.send(has(server_says, "101") ? get("/chat", "Connection: Upgrade\r\nUpgrade: x\r\n") : "CONNECT hit:443 HTTP/1.1\r\nHost: hit\r\n\r\n");
    const auto all = one.rest();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 503 ") && has(all, "Connection: close") && all.ends_with("\r\n\r\nbroken")) << all;
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
  for (const std::string blank : {"\r\n", "\n", "\r\n\r\n"}) EXPECT_TRUE(has(ask(blank + get("/hit")).first, " 503 "));
  client.send("POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n" + get("/hit") + "\r");
  client.send("\n" + get("/2"));
  for (auto* expected : {"X-Of: /1", " 503 ", "X-Of: /2"}) EXPECT_TRUE(has(answer().first, expected)) << expected;
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
