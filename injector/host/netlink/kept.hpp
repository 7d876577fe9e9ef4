// Things of the kernel's network tables, each kept as the message that would make it again (rtnetlink(7)).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"

namespace squall::links {

struct Kept {
  std::uint16_t type = 0;     // RTM_NEWADDR, RTM_NEWNEXTHOP, RTM_NEWROUTE or RTM_NEWNEIGH
  std::vector<char> payload;  // its header and attributes, but those that tell of the moment
  std::int64_t until = 0;     // CLOCK_BOOTTIME, ns: the kernel drops it then; 0: never
  bool shares_key = false;    // a route that is not the only one with its destination and metric

  template <class Header>
  Header header() const {
    Header out{};
    if (!payload.empty()) std::memcpy(&out, payload.data(), std::min(payload.size(), sizeof out));
    return out;
  }
  std::span<const std::byte> attributes() const;
  const nlattr* find(std::uint16_t attribute) const;
  std::uint32_t number(std::uint16_t attribute) const;  // 0 where absent
  bool same(const Kept& other) const { return type == other.type && payload == other.payload; }
};

// With the header as given, and the message's attributes but those.
Kept keep(const nlmsghdr*, std::span<const std::byte> header, std::initializer_list<std::uint16_t> left_out);
template <class Header>
Kept keep(const nlmsghdr* message, const Header& header, std::initializer_list<std::uint16_t> left_out) {
  return keep(message, std::as_bytes(std::span(&header, 1)), left_out);
}

boost::json::object to_json(const Kept&);
Kept kept_from(const boost::json::object&);

// Asks the kernel for it; `flags` are NLM_F_CREATE, NLM_F_EXCL and so on.
netlink::Answer make(netlink::Socket&, const Kept&, std::uint16_t flags);

}  // namespace squall::links
