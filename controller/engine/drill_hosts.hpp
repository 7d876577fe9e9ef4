// What a drill knows of its hosts and of the faults it asks them for.
#pragma once

#include <thread>

#include "controller/engine/drill.hpp"

namespace squall {

struct Drill::Host {
  ~Host() {
    if (rescuer) rescuer->join();
  }
  std::string name;
  HostSpec spec;
  std::unique_ptr<Link> link;
  std::string unreachable;  // why it has no session
  std::string session;      // what the injector calls itself
  bool touched = false;     // a fault was asked for there, so its state has to be compared
  bool lost = false;
  std::unique_ptr<std::thread> rescuer;  // looks after an injector that says nothing
  bool undone_by_hand = false;           // by `squall undo`
  boost::json::object farewell;          // what "bye" was answered, or said by itself
};

// One fault on its way: asked for, in force, over.
struct Drill::Active {
  const PlannedFault* fault = nullptr;
  Host* host = nullptr;
  bool in_force = false;
  bool over = false;
  boost::json::value dose;     // as it was last recorded
  std::string service;         // whose probes tell whether it was met; "" where there is none
  std::int64_t applied_t = 0;  // nanoseconds since the run's start
  boost::json::array probed;   // ends that the host was not told of yet
};

}  // namespace squall
