// A server that tells what it was asked, a proxy that reads HTTP/1 before it, and a client.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/proxy/proxy_under_test.hpp"

namespace squall::testing {

using proxy::HttpRule;
using Act = HttpRule::Act;
using Side = HttpRule::Side;

// Up to the empty line; "" at the end.
inline std::string header_of(Client& client) {
  std::string out;
  while (!out.ends_with("\r\n\r\n")) {
    const auto one = client.bytes(1);
    if (one.empty()) return "";
    out += one;
  }
  return out;
}
inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline std::string chunked_body(Client& client) {
  std::string out;
  for (;;) {
    std::string line;
    while (!line.ends_with("\r\n"))
      line += client.bytes(1);
    const auto size = std::stoul(line, nullptr, 16);
    out += client.bytes(size);
    client.bytes(2);
    if (size == 0) return out;
  }
}
inline std::string body_of(Client& client, const std::string& header) {
  if (has(header, "Transfer-Encoding: chunked")) return chunked_body(client);
  const auto at = header.find("Content-Length: ");
  return at == std::string::npos ? "" : client.bytes(std::stoul(header.substr(at + 16)));
}

// Answers every request with its own header and body: chunked where the path says so, as long as asked
// ("/bytes/1000").
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
        out +=
            "Transfer-Encoding: chunked\r\nContent-Encoding: none\r\n\r\n" +
            (head ? "" : fmt::format("5\r\nfirst\r\n{:x};why=not\r\n{}\r\n0\r\n\r\n", answer.size(), answer));
      else
        out += fmt::format("Content-Length: {}\r\n\r\n{}", answer.size(), head ? "" : answer);
      client.send(out);
    }
  }
  std::mutex mutex_;
  std::vector<std::string> asked_;
  Upstream server_{[this](Client& client) { serve(client); }};
};

inline std::string get(const std::string& path, const std::string& more = "") {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, more);
}

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

inline HttpRule rule(Act act, Side side = Side::request, const std::string& path = "/hit*") {
  HttpRule out;
  out.act = act;
  out.side = side;
  out.path = path;
  out.status = 503;
  out.body = "broken";
  out.content_type = "text/plain";
  return out;
}

}  // namespace squall::testing
