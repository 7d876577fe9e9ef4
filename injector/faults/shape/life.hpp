// Timers and events of a fault while it is in force. They end before its undo, whatever is due.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "injector/faults/fault.hpp"
#include "scenarios/text/units.hpp"

namespace squall::faults {

class Life {
 public:
  explicit Life(const Setting&);
  ~Life();
  Life(const Life&) = delete;
  // Calls it again and again, the first time after `period`, until the end. Nothing where the setting has no
  // loop to wait in. What it throws is told as an event.
  void every(Duration period, std::function<void()>);
  // A line of the record, as of now.
  void tell(std::string event, boost::json::object with);
  std::vector<FaultEvent> take_events() { return std::exchange(events_, {}); }
  void end();

 private:
  struct Timer;
  void wait(const std::shared_ptr<Timer>&);
  boost::asio::io_context* io_;
  std::vector<std::shared_ptr<Timer>> timers_;
  std::vector<FaultEvent> events_;
};

}  // namespace squall::faults
