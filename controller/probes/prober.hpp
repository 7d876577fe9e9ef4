// Asks services how they are, on an honest schedule: each probe is due at fixed times; its latency counts
// from when it was due, and an answer that does not come before the next is due does not silence the next (no
// coordinated omission).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "reports/record/record.hpp"
#include "scenarios/model/landscape.hpp"

namespace squall {

// Probes that were due and not sent: `n` of them, the first at `due_ns`, one each `every_ns`.
struct NotAsked {
  std::string service, probe;
  std::int64_t due_ns = 0, every_ns = 0, n = 0;
};

// A question that is on its way, due at `due_ns` since the start, or later by as long as squall stood still
// since.
struct Waiting {
  std::string service, probe;
  std::int64_t due_ns = 0;
};

class Prober {
 public:
  using Sink = std::function<void(const std::string& service, const std::string& probe, const ProbeSample&)>;

  // `start` is the monotonic time (steady_clock) that sample times count from. Probes of one service with the
  // same period are spread over it, so that a thousand probes a second are not a thousand at once.
  Prober(boost::asio::io_context&, std::chrono::steady_clock::time_point start, Sink);
  ~Prober();
  void add(const std::string& service, const ProbeSpec&);
  // `look` runs before anything is made of the time, so that a standstill is noticed before its probes are
  // asked or judged.
  void before_each(std::function<void()> look);
  void run();
  // This process stood still for `stalled` of its own clock (CLOCK_MONOTONIC), until now. What was due is
  // skipped and returned; what was on its way gets that much more time, and its answer says nothing.
  std::vector<NotAsked> stood_still(std::chrono::nanoseconds stalled);
  // The questions that are not answered yet.
  std::vector<Waiting> waiting() const;
  // No new probes; those in flight are awaited until their timeouts, each still reported, then `done` is
  // called.
  void finish(std::function<void()> done);
  // Those still in flight are reported as failed with this error, at once.
  void give_up(const std::string& error);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
