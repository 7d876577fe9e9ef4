// nf_tables rules that lead new TCP connections to a port of this host, where a proxy learns where they were meant to go
// (SO_ORIGINAL_DST). Connections that exist are not touched: only a first SYN is led, and the rest follows by conntrack,
// even when the rules have gone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "injector/host/detour_rules.hpp"
#include "injector/inverse.hpp"

namespace squall {

struct Redirect {
  std::string table;       // inet, owned by the socket that adds it
  std::uint16_t port = 0;  // of the proxy, on every address
  std::uint32_t mark = 0;  // of what the proxy sends itself, which passes
  // Connections to a listener of this host, whoever makes them; else those that are made from here.
  std::optional<std::uint16_t> listener;
  std::vector<Prefix> peers;          // connections from here to any of these, or from them to the listener; empty: all
  std::vector<std::uint16_t> ports;   // connections from here to any of these; empty: every port
  std::vector<SocketCgroup> cgroups;  // of who makes them from here; empty: anybody
  std::vector<std::uint16_t> exempt;  // ports
  std::vector<Prefix> exempt_peers;
};

netlink::Messages add_redirect(const Redirect&);
netlink::Messages delete_redirect(const Redirect&);
// Connections that were led so far, in the caller's network namespace.
std::uint64_t redirected(const Redirect&);
// As the journal has it: gone with its owner.
Inverse redirect_removal(const Redirect&, std::uint64_t network_namespace, pid_t namespace_pid);

}  // namespace squall
