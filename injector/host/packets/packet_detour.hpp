// Impairs packets in user space: rules in tables that die with us hand them to an engine thread.
#pragma once

#include <memory>
#include <string>

#include "injector/change/transaction.hpp"
#include "injector/host/netlink/first_closed.hpp"
#include "injector/host/packets/packet_engine.hpp"
#include "injector/host/packets/packet_queue.hpp"
#include "injector/host/rules/detour_rules.hpp"

namespace squall {

class EndpointSet;
class Tap;

struct PacketDetourPlan {
  Impairment what;
  std::uint64_t seed = 1;
  DetourRules rules;                    // the tap of each point and the queue are filled in when it starts
  QueueWays ways;                       // of packets that the queue takes
  std::shared_ptr<EndpointSet> ends;    // where the ends of packets that come are noted, if anywhere
  std::string prefix;                   // of the names of taps: "sq1a2b3c4d"
  std::uint64_t network_namespace = 0;  // 0: the caller's
  pid_t namespace_pid = 0;              // a process in it
};

// Of one fault.
constexpr std::size_t most_hold_points = 36 * 36;
// Packets that the queue holds at most: enough for 200,000 a second.
std::uint32_t longest_queue(const Impairment&);

class PacketDetour {
 public:
  explicit PacketDetour(PacketDetourPlan);
  ~PacketDetour();

  void set_level(double level);
  // Whether all packets pass at once for a moment.
  void make_way(bool on);
  // Where several end at once: packets pass again, and those that are held begin to go on; and then: they are
  // gone.
  void begin_letting_go();
  void finish_letting_go();
  EngineMeasure measure();
  // Where somebody removed one of our taps or set it down, what is led to it is lost: lets all packets pass
  // as they are, and says which. "" where all are there.
  std::string flow_where_a_tap_is_gone();
  // Packets that were lost with it, at most, and since it was there last.
  std::uint64_t lost_to_an_outage() const { return outage_lost_; }
  // What of our rules is gone, "" where all are there, or were taken away by `flow`.
  std::string lost_rules() const;
  // Lets all packets pass as they are from now on.
  void flow();

  // Makes what nobody notices: sockets, the queue, and the thread where no tap is needed; what start_engine
  // then need not.
  void get_ready();

  // The acts of the verb below.
  void start_engine();  // makes the taps, the queue and the thread; no packet comes yet
  void add_rules();
  Undone remove_rules();  // packets pass again, and those that were held go on at once
  Undone stop_engine();
  const PacketDetourPlan& plan() const { return plan_; }

 private:
  void add_taps_and_start();

  PacketDetourPlan plan_;
  std::unique_ptr<FirstClosed> owner_;
  std::unique_ptr<PacketEngine> engine_;
  double level_ = 1;
  EngineMeasure last_;
  bool started_ = false;
  bool flows_ = false;            // its rules were taken away before its end
  PacketQueue* queue_ = nullptr;  // the engine's
  std::vector<Tap*> taps_;        // the engine's
  std::uint64_t passed_ = 0, dropped_ = 0;
  std::uint64_t led_ = 0, outage_lost_ = 0;  // to taps, when all were there last
};

namespace detour {
// How the tables of such rules are told to be gone, which they are with this process.
Inverse owned_tables(const DetourRules&, std::uint64_t network_namespace, pid_t namespace_pid);
// Queues what brings the delay into force: the engine with its taps, then the tables.
void lead_packets(Transaction&, std::shared_ptr<PacketDetour>, const std::string& what);
}  // namespace detour

}  // namespace squall

namespace squall::undo {
extern const UndoVerb nft_table;
}
