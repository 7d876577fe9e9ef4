// What the target of a network fault did meanwhile, by the counters of its own sockets, wherever a redirect
// or somebody else's listener led its users: how much of it met the fault, and how much went by.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/faults/fault.hpp"
#include "injector/host/cgroups/net_cls.hpp"
#include "injector/host/connections/tcp_sockets.hpp"
#include "injector/host/connections/translation.hpp"
#include "injector/host/match/packet_match.hpp"

namespace squall::faults {

// Which TCP connections of a target a fault means, as their sockets see them.
struct MeantConnections {
  std::uint64_t network_namespace = 0;
  pid_t namespace_pid = 0;
  // Whose: of everybody in the network namespace, of who listens on that port, or of these processes.
  bool everybody = false;
  std::optional<std::uint16_t> listener;
  std::vector<pid_t> pids;
  std::vector<std::string> cgroup_folders;  // and whoever is in these by then
  std::vector<std::shared_ptr<net_cls::OwnGroup>> groups;
  std::vector<SocketCgroup> cgroups;
  bool made_here = false;  // only those that the target begins
  PacketMatch match;
  std::vector<std::uint32_t> devices;  // by which they leave; empty: any
};

// How a share is counted.
enum class CountedBy {
  segments_out,
  segments_in,
  segments,
  connections,  // that did anything
  exchanges,    // of data there and back, one at least for each connection
};

class TargetTraffic {
 public:
  explicit TargetTraffic(MeantConnections);
  ~TargetTraffic();
  TargetTraffic(const TargetTraffic&) = delete;

  // Which ends of connections the fault met; filled by its mechanism. And those of connections that it made
  // itself.
  const std::shared_ptr<EndpointSet> met = std::make_shared<EndpointSet>(),
                                     own = std::make_shared<EndpointSet>();
  CountedBy counted_by = CountedBy::segments;
  // Where connections that exist are not meant to be hit, they are told as that.
  bool spares_existing = false;
  // What one of those is called, where that says it better.
  std::string unit;
  // Why what passed went by, where nothing better is known.
  std::string why_else;
  // The fault acts on connections that the kernel tracks.
  bool needs_tracking = false;
  // What came to the target's port by UDP, where the fault is one of TCP alone.
  std::uint64_t datagrams = 0;
  // Of very many packets a part is looked at only: a connection of which nothing says why it went by has met
  // the fault.
  bool samples = false;
  // For a mechanism that cannot tell which ends it met: whether it meets a connection, by the ends that it
  // has on the wire.
  std::function<bool(const Endpoint& own_end, const Endpoint& peer)> meets;

  // When the fault is in force; looks at sockets from then on.
  void begin();
  void look();
  // When it is over: what comes later is none of its business.
  void end();

  // Whether the fault met connections with these ends on the side of who began them.
  void note_probes(const std::string& service, const std::vector<Endpoint>&);

  // With what was counted so far: a dose most of whose target went by is not verified. `met_at_least`, in the
  // same unit, is what the fault knows itself to have met.
  Dose in_view(Dose, std::uint64_t met_at_least = 0);

 private:
  struct Sum {
    std::uint64_t connections = 0, segments_in = 0, segments_out = 0, exchanges = 0;
    std::uint64_t of(CountedBy) const;
  };
  struct Known {
    TcpSocket then, now;
    bool existed = false, accepted = false, met = false, looked_up = false;
    int looks_without = 0;
    std::optional<bool> meant;
    std::optional<Translation> translation;
  };
  struct UnixConnections {
    std::set<std::uint64_t> inodes;
    std::set<std::string> paths;
  };

  void take(const TcpSocket&, bool first);
  void take_ended(const TcpSocket&);
  void look_at_descriptors();
  void look_at_unix_sockets();
  bool is_own(const TcpSocket&) const;
  std::optional<bool> is_targets(const TcpSocket&, bool accepted) const;
  bool is_meant(const TcpSocket&, bool accepted);
  void decide(Known&);
  void look_up(Known&);
  void settle(const Known&);
  void add(const Known&, Sum& met, Sum& passed, std::map<std::string, std::uint64_t>& why) const;
  std::string why_passed(const Known&) const;
  bool by_device(const TcpSocket&);
  void judge_probes();

  MeantConnections what_;
  std::unique_ptr<TcpSockets> sockets_;
  std::unique_ptr<ConnectionTracking> tracking_;
  std::unique_ptr<netlink::Socket> routes_;
  std::map<std::uint64_t, Known> known_;  // by cookie: connections that are there, and may be the target's
  std::map<std::uint16_t, SocketCgroup> listening_;  // by port; those who are accepted are of its cgroup
  std::set<std::uint16_t> targets_ports_;
  std::set<std::uint64_t> inodes_;  // of sockets that the target's processes hold
  std::map<std::uint16_t, std::optional<Translation>>
      translations_;  // the last one found, by the socket's own port
  UnixConnections unix_;
  EndpointSet seen_;  // who began connections that are meant
  std::optional<Witness> witness_;
  // Ends of probes, judged after the next look, and once more after the one behind it where nothing was seen
  // of them.
  std::vector<Endpoint> probes_, probes_again_;
  Sum met_, passed_;  // of connections that are gone
  std::map<std::string, std::uint64_t> why_;
  std::int64_t next_look_ = 0, next_descriptors_ = 0;
  int look_ups_left_ = 0;
  bool missed_ = false, refused_ = false;
};

}  // namespace squall::faults
