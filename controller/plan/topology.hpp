// Partitions over several hosts: who cannot hear whom, and by which addresses. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scenarios/model/scenario.hpp"
#include "scenarios/model/topology.hpp"

namespace squall {

// Each host that loses somebody, with those it cannot hear, in the order of their names. The seed decides who
// is alone, in which half or where in the ring. There must be at least `least_hosts` of them.
std::map<std::string, std::vector<std::string>> cannot_hear(Topology, const std::vector<std::string>& hosts,
                                                            std::uint64_t seed);
std::size_t least_hosts(Topology);

// The addresses that a host's peers know it by: as declared, or the one of its ssh destination.
std::vector<std::string> peer_addresses(const HostSpec&);

// What one host does in a partition.
struct HostPartition {
  std::string host;
  std::vector<std::string> cannot_hear;  // hosts
  Value with;                            // the fault's parameters: `topology` has become `to` and `direction`
};

// What a step with a `topology` comes to on these hosts; none where it has none. What is refused goes to
// `diagnostics` with its place.
std::vector<HostPartition> partition(const Step&, const std::vector<std::string>& hosts,
                                     const std::map<std::string, HostSpec>&, std::uint64_t seed,
                                     Diagnostics&);
bool has_topology(const Step&);

}  // namespace squall
