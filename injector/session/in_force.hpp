// What one session has in force on this host: from each fault's apply to its undo.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>

#include "injector/faults/fault.hpp"
#include "injector/session/safeguard.hpp"
#include "injector/undo/applied.hpp"

namespace squall {

// A fault that is to be put in force.
struct Order {
  std::string step, run;
  const FaultType* type = nullptr;
  std::unique_ptr<Fault> fault;
  std::int64_t for_ns = 0, ramp_up_ns = 0;  // for_ns 0: an act that is watched until it is undone
  std::int64_t received = 0;                // CLOCK_MONOTONIC, when it was asked for
};

class InForce {
 public:
  struct Surroundings {
    boost::asio::io_context& io;
    Safeguard& safeguard;
    std::string state, session;
    std::function<void(const boost::json::object&)> say;   // goes to the caller
    std::function<void(const boost::json::object&)> tell;  // may be missed by a slow caller
    std::function<std::string(const Fault&)>
        forbidden;  // by the host's policy, as things are now: the rule, or ""
    std::function<void(const Fault&, const std::vector<Change>&)> note;  // what is about to be changed
  };
  explicit InForce(Surroundings);
  ~InForce();
  InForce(const InForce&) = delete;

  // Puts it in force, its undo durable before. The answer is the protocol's; throws Refused, or
  // std::runtime_error that names the attempt that failed, all undone.
  boost::json::object apply(Order);
  boost::json::object dose(const std::string& step);
  // Of a step that may be over by now: nothing then.
  void note_probes(const std::string& step, const std::string& service, const std::vector<Endpoint>&);
  // Undoes one step, or all, last one first; what could not be undone earlier is tried again. `say` tells the
  // caller.
  boost::json::object undo(const std::string& step);
  boost::json::object undo_all(const std::string& why, bool say);

  // Without a word for so long everything is undone; 0: for ever. Matters only while something is in force.
  void lease(std::int64_t ns) { lease_ns_ = ns; }
  void renew();

  // What takes its time, so that no dose is taken meanwhile, is no standing still: look before it, looked
  // after it.
  void look();
  void looked();

  bool empty() const { return running_.empty(); }
  bool clean() const { return running_.empty() && remains_.empty(); }

 private:
  struct Running;

  Running& find(const std::string& step);
  void check_claims(const Order&) const;
  void start(Running&);
  void ramp(const std::string& step);
  void tick();
  void ask_policy();
  void say_events(Running&);
  using Told = std::function<void(boost::json::object)>;
  // Undoes them together: whoever holds packets is asked only once to let them pass. `told` gets what became
  // of each, in the order of their undo.
  void end(const std::vector<std::string>& steps, const std::string& why, const Told& told);
  std::vector<Running*> in_order_of_undo(const std::vector<std::string>& steps);
  boost::json::object undo(Running&, std::int64_t begin, const std::string& why,
                           std::vector<boost::json::object>& records);
  void note(std::vector<boost::json::object>& records);
  // Whether what the other faults hold passes at once.
  void make_way(const std::vector<Running*>& besides, bool on);
  void end_and_say(const std::vector<std::string>& steps, const std::string& why);
  void end_those_over();

  Surroundings at_;
  boost::asio::steady_timer ticks_, lease_;
  std::int64_t lease_ns_ = 0, lease_until_ = 0, policy_at_ = 0;
  std::map<std::string, std::unique_ptr<Running>> running_;
  std::vector<std::unique_ptr<Running>>
      remains_;  // what could not be undone, with its fault, which another try may call
  std::uint64_t order_ = 0;
  std::int64_t looked_at_ = 0;  // CLOCK_BOOTTIME
};

}  // namespace squall
