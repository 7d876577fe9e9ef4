// By what the kernel tells whose a socket is, and with it a packet.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "injector/host/rules/nftables.hpp"
#include "injector/system/listeners.hpp"

namespace squall {

// A cgroup as the kernel compares it: one of the v2 hierarchy by its depth and the inode of its directory,
// one of net_cls (v1) by its class id.
struct SocketCgroup {
  std::uint32_t level = 0;
  std::uint64_t id = 0;
  std::uint32_t class_id = 0;  // 0: of v2
  bool operator==(const SocketCgroup&) const = default;
};
std::string to_string(const SocketCgroup&);

// Where a packet's socket is known: in OUTPUT; in INPUT, for v2 alone.
nft::Rule& of(nft::Rule&, const SocketCgroup&);

// In INPUT the kernel does not look for a socket's class id. What a socket with one sends there makes its
// conversation known, by addresses, protocol and ports, for TCP and UDP; what arrives is looked up.
namespace conversations {
constexpr std::uint64_t remembered_s = 120;
bool needed(const std::vector<SocketCgroup>&);
// The sets and the chain that fills them.
void add(netlink::Messages&, const std::string& table, const std::vector<SocketCgroup>&);
// The conditions of which an arriving packet must fulfil one: of a conversation, or to one of these.
std::vector<std::function<void(nft::Rule&)>> known(const std::vector<Listener>&);
}  // namespace conversations

}  // namespace squall
