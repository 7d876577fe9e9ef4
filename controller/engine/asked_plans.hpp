// What the hosts of a plan say about it: all of them asked at once, nothing changed, and signals heard.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "controller/hosts/link.hpp"
#include "controller/plan/planner.hpp"

namespace squall {

class AskedPlans {
 public:
  AskedPlans(const Plan&, LinkOptions, std::string environment);

  // Asks, until all have answered or a signal came.
  void run();

  bool interrupted = false;
  std::map<std::string, std::string> unreachable;  // hosts, and why
  std::map<const PlannedFault*, Reply> replies;    // of hosts that could be reached

 private:
  boost::asio::awaitable<void> ask(const std::string& host);

  const Plan& plan_;
  LinkOptions options_;
  std::string environment_;
  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  std::map<std::string, std::unique_ptr<Link>> links_;
};

}  // namespace squall
