// Asks services how they are, on an honest schedule: each probe is due at fixed times; its latency counts from when it
// was due, and an answer that does not come before the next is due does not silence the next (no coordinated omission).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "reports/record.hpp"
#include "scenarios/landscape.hpp"

namespace squall {

class Prober {
 public:
  using Sink = std::function<void(const std::string& service, const std::string& probe, const ProbeSample&)>;

  // `start` is the monotonic time (steady_clock) that sample times count from. Probes of one service with the same
  // period are spread over it, so that a thousand probes a second are not a thousand at once.
  Prober(boost::asio::io_context&, std::chrono::steady_clock::time_point start, Sink);
  ~Prober();
  void add(const std::string& service, const ProbeSpec&);
  void run();
  // No new probes; those in flight are awaited until their timeouts, each still reported, then `done` is called.
  void finish(std::function<void()> done);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
