// Server-sent events: what happens, told to whoever watches. https://html.spec.whatwg.org/#server-sent-events
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>

#include "controller/http/server.hpp"

namespace squall::serve {

class Events {
 public:
  explicit Events(boost::asio::io_context&);

  void tell(const std::string& kind, const boost::json::object& what);
  // From here on; with a Last-Event-ID of this daemon, from the one after that. Where that is too long ago,
  // or another daemon's, an event "reset" says that something was missed. 200 watchers at most: 503 beyond.
  http::ServerAnswer watch(const std::string& last_event_id);
  std::size_t watchers();
  std::uint64_t told() const { return next_ - 1; }

 private:
  struct Kept {
    std::uint64_t number;
    std::string text;
  };
  std::string since(const std::string& last_event_id) const;
  void beat();

  boost::asio::steady_timer heartbeat_;
  bool beating_ = false;
  std::string life_;  // of this daemon: numbers of another mean nothing here
  std::uint64_t next_ = 1;
  std::deque<Kept> kept_;
  std::vector<std::shared_ptr<http::Stream>> watchers_;
};

}  // namespace squall::serve
