// What a fault does by itself while it is in force: timers, and events for the record. It ends before the
// undo, so that nothing that a fault started runs into it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "injector/faults/fault.hpp"
#include "scenarios/text/units.hpp"

namespace squall::faults {

class Life {
 public:
  // Without `setting.io` (a plan, a test that looks by itself) no timer ever runs.
  explicit Life(const Setting& setting) : io_(setting.io) {}
  Life(const Life&) = delete;
  ~Life() { end(); }

  // Calls once after that time, or again and again with that time between two calls. What it throws becomes
  // the event "fault.error"; a rhythm goes on.
  void after(Duration, std::function<void()>);
  void every(Duration, std::function<void()>);
  // Called as it ends, the last first; at once where it has ended already.
  void at_end(std::function<void()>);
  // A line in the record, stamped with this moment.
  void tell(std::string event, boost::json::object with = {});

  bool over() const { return over_; }
  // Whatever it started is not called any more, even where its handler is queued already.
  void end();
  std::vector<FaultEvent> take_events() { return std::exchange(events_, {}); }

 private:
  struct Timer;
  void arm(const std::shared_ptr<Timer>&);

  boost::asio::io_context* io_;
  std::vector<std::shared_ptr<Timer>> timers_;
  std::vector<std::function<void()>> endings_;
  std::vector<FaultEvent> events_;
  bool over_ = false;
};

}  // namespace squall::faults
