// nf_tables rules for new TCP connections: they are led to a port of this host, where a proxy learns where
// they were meant to go (SO_ORIGINAL_DST), or refused. Connections that exist are not touched: only a first
// SYN is led, and the rest follows by conntrack, as long as the table is there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "injector/change/inverse.hpp"
#include "injector/host/rules/detour_rules.hpp"

namespace squall {

// Of what a proxy of ours sends to servers. Without the bits 14 and 15, by which kube-proxy masquerades
// packets and drops them, and none of detoured_mark's.
constexpr std::uint32_t proxied_mark = 0x5372211e;

// Of the sockets towards servers that see their clients, the first and the last: far from those that programs
// give (0 to 15) and from the classes of a qdisc, whose handle is the upper half. Each fault begins somewhere
// in there by chance, so that none takes another's client for its own; the last one is of addresses of this
// host.
constexpr std::pair<std::uint32_t, std::uint32_t> client_priorities{0x4000'0000, 0x6fff'ffff};

struct ConnectionRules {
  std::string table;  // inet, owned by the socket that adds it
  enum class Fate { lead, reject, drop } fate = Fate::lead;
  std::uint16_t port = 0;  // lead: of the proxy, on every address
  std::uint32_t mark = 0;  // of what passes: the proxy's own; 0: nothing
  // reject, drop: a share of the attempts, by the kernel's chance; those made while more than so many
  // connections are open.
  double share = 1;
  std::optional<std::uint32_t> beyond;
  bool keeps_clients =
      false;  // lead, of a listener: its server sees the address of each client that was introduced
  bool remembers_ends = false;    // of those who made an attempt
  bool counts_datagrams = false;  // of UDP to the listener's port, which pass
  // Connections to a listener of this host, whoever makes them; else those that are made from here.
  std::optional<std::uint16_t> listener;
  std::vector<Prefix>
      peers;  // connections from here to any of these, or from them to the listener; empty: all
  std::vector<std::uint16_t> ports;   // connections from here to any of these; empty: every port
  std::vector<SocketCgroup> cgroups;  // of who makes them from here; empty: anybody
  std::vector<std::uint16_t> exempt;  // ports
  std::vector<Prefix> exempt_peers;
  std::vector<Prefix> left_out;  // of the peers, these are left alone
};

netlink::Messages add_connection_rules(const ConnectionRules&);
// Nobody new is led, and the packets of those who were go on being translated: without a chain of type nat in
// its network namespace the kernel stops that, and their connections would hang.
netlink::Messages lead_nobody(const ConnectionRules&);
// The server sees this address, of 4 or 16 bytes, on what bears the mark and has this priority (SO_PRIORITY);
// for rules that keep clients. The kernel translates that by the connection, so that nothing of it outlives
// the table.
netlink::Messages introduce_client(const std::string& table, std::uint32_t priority,
                                   std::span<const std::uint8_t> address);
netlink::Messages delete_connection_rules(const ConnectionRules&);
// As lost_rules of detour_rules.hpp.
std::string lost_rules(const ConnectionRules&);
// Made so far, and, of those, refused; in the caller's network namespace. Refused ones where the fate is no
// lead.
std::uint64_t attempts(const ConnectionRules&);
std::uint64_t refused(const ConnectionRules&);
// Datagrams that came to the listener's port by UDP; of rules that count them.
std::uint64_t datagrams(const ConnectionRules&);
// The ends of attempts that were made lately; of rules that remember them.
void read_ends(const ConnectionRules&, EndpointSet& into);
// As the journal has it: gone with its owner.
Inverse connection_rules_removal(const ConnectionRules&, std::uint64_t network_namespace,
                                 pid_t namespace_pid);

}  // namespace squall
