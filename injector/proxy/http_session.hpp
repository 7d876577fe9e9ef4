// HTTP/1 on one proxied connection (RFC 9112): requests and their answers, by turns, so that one can be
// changed and the others stay as they are, byte for byte. Keep-alive, pipelining, chunked bodies, 1xx
// answers; after an upgrade, CONNECT, or anything that is not HTTP/1, everything passes unread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "injector/host/connections/went_by.hpp"
#include "injector/proxy/http_rule.hpp"
#include "injector/proxy/stage.hpp"

namespace squall::proxy {

// What all connections of a proxy share; with no rule everything passes.
struct HttpControl {
  std::shared_ptr<const HttpRule> rule;
  std::uint64_t seed = 1;
  HttpCounters counters;
  WentBy went_by;  // requests that did not match, while none had
};

class HttpSession {
 public:
  HttpSession(std::shared_ptr<HttpControl>, std::uint64_t connection);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;

  // The stages of both directions, which live no longer than the session.
  std::unique_ptr<Stage> requests();
  std::unique_ptr<Stage> responses();
  // Called when there is something to answer that no server will, from within a stage: `answer` is to be
  // called soon after, and the responses' link to look again.
  std::function<void()> wake;
  void answer();
  // What waits goes on, or waits no longer than the new rule lets it; both links are to look again.
  void rule_changed();

 private:
  class Requests;
  class Responses;
  struct Exchange;
  struct State;
  std::unique_ptr<State> state_;
  std::shared_ptr<HttpControl> control_;
  Requests* requests_ = nullptr;
  Responses* responses_ = nullptr;
};

}  // namespace squall::proxy
