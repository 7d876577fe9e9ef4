// The nf_tables rules that hand packets to the injector: arriving ones to a packet queue, leaving ones to
// a tap device. Packets are never queued in OUTPUT or POSTROUTING: they still belong to their sender's socket
// there, which stops sending when a few of them wait.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "injector/host/match/packet_match.hpp"
#include "injector/host/rules/nftables.hpp"
#include "injector/host/rules/socket_owner.hpp"

namespace squall {

// A place where packets are taken.
struct HoldPoint {
  enum class At {
    arriving,   // PREROUTING, forwarded packets included
    delivered,  // INPUT, where the receiving socket is known
    leaving,    // the egress hook of one device, forwarded packets included
    entering,  // the ingress hook of one device, where a bridge or bond that it belongs to has not taken them
               // yet; to drop
    sent,      // OUTPUT and FORWARD, to one device: what is refused there the sender is told
  } at = At::arriving;
  std::uint32_t interface = 0;  // arriving, delivered, sent: 0 for any
  bool not_loopback = false;    // with any
  std::string device;           // leaving, entering
  std::uint32_t tap = 0;        // leaving: where the packets go
  PacketMatch match;
  std::vector<SocketCgroup>
      cgroups;  // delivered: of the receiving socket, sent: of the sending one; any of them
  std::vector<Listener> listeners;  // delivered, of net_cls: what comes to these is meant as well
  bool marked = false;              // arriving, leaving: only packets that carry the sender's bit
  bool watched = false;             // only counted: what came here all the same
};

struct DetourRules {
  std::string table;  // the name of both tables, inet and netdev
  std::vector<HoldPoint> points;
  // What becomes of the packets: led to the queue and the taps, or dropped, silently or not.
  enum class Fate { detour, drop, reject } fate = Fate::detour;
  bool remembers_ends = false;  // of what is dropped or rejected
  enum class Answer {
    automatic,
    icmp,
    rst
  } answer = Answer::automatic;  // to what is rejected: by its protocol; rst: TCP alone
  std::uint16_t queue = 0;
  bool compat_queue = false;           // the kernel lacks nft_queue
  std::vector<SocketCgroup> senders;   // packets of these get the sender's bit in OUTPUT
  std::uint32_t sender_interface = 0;  // 0 for any
};

// What packets that we send on, or copies of some, carry, so that these rules let them pass: a number that is
// the rules' own. Rules of a lower number see packets before those of a higher one do, and let pass what
// carries their number or a higher one, so that each packet goes once through every detour that means it.
// Bits 14 and 15 are left to kube-proxy, which drops or rewrites what has them.
std::uint32_t detoured_mark(const DetourRules&);
// A bit that ties a packet to its sending socket between OUTPUT and where it is taken; cleared there.
// Different senders have different bits, as long as there are not more than eight.
std::uint32_t sender_bit(const std::vector<SocketCgroup>& senders);

bool uses_queue(const DetourRules&);
// Whether packets are known by their ports, which of a packet that was cut into pieces the first alone has:
// then rules know the others by the first.
bool leads_pieces(const DetourRules&);
bool uses_devices(const DetourRules&);

// One batch, begun and ended.
netlink::Messages add_detour_rules(const DetourRules&);
// One batch that makes these rules mean more peers besides; those they had are matched all the while. Of
// rules that name peers, and for peers that they do not name yet.
netlink::Messages add_peers(const DetourRules&, std::span<const Prefix> more);
// Packets pass from then on; hooks stay, since unregistering one drops what waits in the queues of the
// namespace (nf_queue_nf_hook_drop in net/netfilter/nf_queue.c).
netlink::Messages delete_detour_rules(const DetourRules&);
netlink::Messages delete_detour_tables(const DetourRules&);
// Whether they take what leaves by a device of that name, in the caller's network namespace.
bool take_what_leaves(const DetourRules&, const std::string& device);
// What of them is not there any more, in the caller's network namespace: "the chain arriving of our nftables
// table sq1a"; "" where all are. Chains on devices that are gone are not missed.
std::string lost_rules(const DetourRules&);
std::string lost_chains(const std::string& table, std::span<const nft::Chain>);
// One batch: what was to wait in the queue passes, or waits again.
netlink::Messages pass_queue_by(const DetourRules&, bool on);
// Packets that the rules took so far, or only watched, read in the caller's network namespace. Of rules that
// drop or refuse.
struct MatchedPackets {
  std::uint64_t leaving = 0, arriving = 0,
                within_lo = 0;  // on lo, where no process is aimed at, the directions are one
  std::uint64_t watched = 0;
  std::uint64_t taken() const { return leaving + arriving + within_lo; }
};
MatchedPackets matched(const DetourRules&);
// Packets led to taps so far, large segments uncut, read in the caller's network namespace.
std::uint64_t led_to_taps(const DetourRules&);
class EndpointSet;
// The ends of connections whose packets were taken lately, read in the caller's network namespace. Of rules
// that remember them.
void read_ends(const DetourRules&, EndpointSet& into);
// Packets sent to the queue so far, read in the caller's network namespace.
std::uint64_t matched_by_queue(const DetourRules&);

}  // namespace squall
