// What a fault is: one declared value in one file pair of faults/, listed in catalogue.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "injector/change/transaction.hpp"
#include "injector/faults/reach.hpp"
#include "scenarios/model/selector.hpp"
#include "scenarios/schema/schema.hpp"

namespace boost::asio {
class io_context;
}

namespace squall {

struct Endpoint;
struct Process;

// Of what a target did meanwhile: how much met the fault and how much went by it, counted by something other
// than the fault itself (the sockets' own counters, io statistics of a cgroup, /proc). One for each parameter
// that was asked for.
struct Share {
  std::string of;  // "connections", "bytes written"
  std::uint64_t met = 0, passed = 0;
  std::vector<std::string>
      by;  // what went by, and why where that is known: "289 came by a redirect of port 80 to 8080"
  std::string unknown;  // where it cannot be had: why; met and passed mean nothing then
  boost::json::object json() const;
};

// Of the probes that the step's own service was asked by meanwhile: how many met the fault.
struct Witness {
  std::string service;
  std::uint64_t met = 0, passed = 0;
  std::uint64_t unseen =
      0;  // whose connections were not seen at the target: whether they met it is not known
  boost::json::object json() const;
};

// The dose: what was prescribed beside what was measured from the effect, never from our own setting read
// back.
struct Dose {
  boost::json::object prescribed;  // {"delay_ms": 80}; each name ends in its unit
  boost::json::object measured;    // the same names where there is a counterpart, and more
  std::uint64_t samples = 0;       // how many packets, intervals, processes … it rests on
  bool verified = false;           // the effect was seen
  std::string reason;              // where it is not verified: why, for a person
  std::optional<Witness> witness;
  // Both sides of one figure: verified as long as each lies within `tolerance` (a share of what was
  // prescribed) of it; the reason names those that do not.
  template <class Prescribed, class Measured>
  void expect(std::string_view name, Prescribed wanted, Measured seen, double tolerance = 0) {
    expect_number(name, static_cast<double>(wanted), static_cast<double>(seen), tolerance);
  }
  // A figure without a counterpart.
  void note(std::string_view name, boost::json::value figure) { measured[name] = std::move(figure); }
  // Not verified, whatever else was seen; the first reason stands.
  void doubt(std::string why);
  std::vector<Share> shares;  // a fault that passed most of its target by is not verified
  boost::json::object json() const;
  void expect_number(std::string_view name, double wanted, double seen, double tolerance);
};

// Something worth a line in the record while a fault is in force: {"event": "process.died", "pid": 12, …}.
// `at` is CLOCK_REALTIME in nanoseconds.
struct FaultEvent {
  std::string event;
  std::int64_t at = 0;
  boost::json::object with;
};

// What a fault may use of its surroundings.
struct Setting {
  boost::asio::io_context* io = nullptr;  // the injector's only thread; nullptr while only planning
  std::string session;                    // 8 hex digits: names what we make on the host ("sq" + session + …)
  std::string step;                       // the step's name, for messages
  std::uint64_t seed = 1;                 // of every random choice
  // Whether the host's policy lets a process be touched that was not there when the fault was prepared.
  std::function<bool(const Process&)> permits = [](const Process&) { return true; };
};

// One fault aimed at one target of this host, from its parameters to its undo.
// Order of calls: apply (queues changes; may be committed or only read), then, if committed: started, then
// measure and events at any time (they are polled about four times a second), then stopping, then the undo,
// then measure once more.
class Fault {
 public:
  virtual ~Fault() = default;
  // The kernel mechanism it chose, as reports say it: "netem behind clsact and an ifb".
  virtual std::string mechanism() const = 0;
  // What it is aimed at, resolved: "redis-server[4711] in /squall-stack/redis".
  virtual std::vector<std::string> targets() const = 0;
  // What it cannot reach here, and what its dose measurement cannot see. Shown in plans and reports.
  virtual std::vector<std::string> limits() const { return {}; }
  // What it cannot share with another fault on this host ("qdisc eth0 egress"): equal texts exclude each
  // other (claims.hpp).
  virtual std::vector<std::string> claims() const = 0;
  // What it touches, resolved: the host's policy is asked about it before the fault is applied and while it
  // is in force.
  virtual Reach reach() const = 0;
  virtual void apply(Transaction&) = 0;
  virtual void started() {}
  // Sets the share (0 to 1) of the full dose, for ramps; called only where the type says it can.
  virtual void set_level(double) {}
  virtual Dose measure() = 0;
  virtual std::vector<FaultEvent> events() { return {}; }
  // The ends, on the side of who asked, of connections by which a service of the step was probed meanwhile:
  // whether they met it is told with the dose.
  virtual void note_probes(const std::string& /*service*/, const std::vector<Endpoint>&) {}
  virtual void stopping() {}
  // Whether packets may wait for it in the kernel's queue, which drops them when anybody removes a hook: it
  // is undone first,
  virtual bool keeps_packets() const { return false; }
  // and where another fault is undone meanwhile, lets them pass at once until that is done.
  virtual void make_way(bool /*on*/) {}
  // Where several are undone at once: begins to let go of what waits, which takes its time, beside the
  // others,
  virtual void begin_letting_go() {}
  // and comes back when that is done. The undo follows.
  virtual void finish_letting_go() {}
};

// Whether this host can take the fault, for `squall doctor`.
struct Capability {
  std::string mechanism;
  bool possible = false;
  bool chosen = false;   // the one that would be used
  std::string missing;   // where it is not possible: what, and how to get it
  std::string note;      // when it is used, where another one is chosen; what it can be aimed at here
  std::string measures;  // what its dose measurement sees, and what not
};

struct FaultType {
  std::string_view name;      // "network.delay"
  std::string_view sentence;  // "delays packets, as a long or crowded path would"
  const ObjectSchema* parameters = nullptr;
  std::vector<std::string> aims;  // keys of TargetSpec
  bool lasting = true;            // stays in force until its end; false: an act that is over at once
  bool ramps = false;
  std::string_view together;  // the fault that does several of this kind at once, where they cannot be in
                              // force beside each other
  std::string_view undo;      // a sentence: how it is undone, or why it cannot be
  std::vector<std::string> examples;  // arguments after `squall inject NAME`
  // Checks and resolves; on errors reports them and returns nullptr. Changes nothing.
  std::function<std::unique_ptr<Fault>(const Value& with, const TargetSpec& on, const Setting&, Diagnostics&)>
      prepare = nullptr;
  std::function<std::vector<Capability>()> doctor = nullptr;
};

// The catalogue, in catalogue.cpp.
const std::vector<const FaultType*>& fault_catalogue();
const FaultType* find_fault(std::string_view name);

}  // namespace squall
