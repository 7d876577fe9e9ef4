// What a fault cannot share with another fault on the same host: a text, which excludes its like.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "injector/host/match/packet_match.hpp"

namespace squall {

// "tcp connections to port 6379 with 10.0.0.0/8, fd00::1": of these peers alone, where there are any.
std::string claim_with_peers(const std::string& what, const std::vector<Prefix>& peers);

struct Clash {
  std::string ours, theirs;
  // "A" in quotes, or "A", which overlaps "B".
  std::string told() const;
};
// Of one injector: its claims, and the network namespace that those mean which name none.
struct Claims {
  std::vector<std::string> texts;
  std::uint64_t network_namespace = 0;
};
// The first of ours that is one of theirs as well. Two that name their peers are one only where an address is
// of both.
std::optional<Clash> clash(const Claims& ours, const Claims& theirs);
inline std::optional<Clash> clash(const std::vector<std::string>& ours,
                                  const std::vector<std::string>& theirs) {
  return clash(Claims{ours}, Claims{theirs});
}

}  // namespace squall
