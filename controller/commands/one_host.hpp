// Talking to one host's injector from a command that is not a drill: a link, a loop, and signals that end it
// in order.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "controller/commands/input.hpp"
#include "controller/hosts/recover.hpp"

namespace squall {

class OneHost {
 public:
  // Throws std::runtime_error where the injector cannot be started.
  OneHost(const Arguments&, const ChosenHost&, bool privileged);

  // Asks and waits for the answer; events arrive meanwhile. More than `patience` signals end the wait, and
  // the link with it: the host undoes by itself then.
  Reply ask(boost::json::object request, int patience = 0);
  // Runs the loop until the condition holds, or the link is lost.
  void run_until(const std::function<bool()>& done);
  // The end: only telling is left, which no signal interrupts any more.
  void close();

  bool interrupted = false;                                  // SIGINT, SIGTERM or SIGHUP came
  std::function<void(const boost::json::object&)> on_event;  // may be set before asking
  std::string lost;                                          // why the link is gone, "" while it stands
  // Nothing came for so long, though the link stands.
  std::function<void(std::chrono::nanoseconds)> on_silence;
  // What became of it, once it is lost.
  HostRecovered recover(const HostSpec&, const LinkOptions&, const std::string& session);

 private:
  void listen();

  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  std::unique_ptr<Link> link_;
  int interrupts_ = 0;
};

}  // namespace squall
