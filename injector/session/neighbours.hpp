// Other sessions that have something in force on this host: while somebody watches a drill, what they do is
// told.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>

namespace squall {

class Neighbours {
 public:
  using Tell = std::function<void(const boost::json::object&)>;
  Neighbours(boost::asio::io_context&, std::string state, std::string own_session, Tell);
  // Looks now and once a second from now on.
  void watch();
  // Looks now: tells {"event": "other", session, run, step, fault, since, over} of each that came or went.
  void look();

 private:
  using Key = std::pair<std::string, std::string>;  // session and step
  void again();

  boost::asio::steady_timer timer_;
  std::string state_, own_;
  Tell tell_;
  std::map<Key, boost::json::object> known_;
  bool watching_ = false;
};

}  // namespace squall
