// Reads a whole table of the kernel's by netlink.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>

#include <netlink/attr.h>
#include <netlink/msg.h>

#include "injector/host/netlink/netlink.hpp"

namespace squall::netlink {

// One netlink socket of the current network namespace for dumps (netlink(7)).
class Dumper {
 public:
  explicit Dumper(int bus);  // NETLINK_ROUTE, NETLINK_NETFILTER

  // Sends `type` with `header` behind the netlink header as a dump request and calls back for each message. A
  // dump that the kernel marks as interrupted by a change is not repeated. False where it was refused.
  bool dump(std::uint16_t type, std::span<const std::byte> header,
            const std::function<void(const nlmsghdr*)>& each);

 private:
  NlSocket socket_;
};

// An attribute's payload as text, up to its NUL.
std::string_view text(const nlattr*);
std::span<const std::byte> payload(const nlattr*);
// An attribute's payload as a number or a struct, as far as the kernel filled it; zeros where absent.
template <class T>
T value(const nlattr* attribute) {
  T out{};
  if (const auto bytes = payload(attribute); !bytes.empty())
    std::memcpy(&out, bytes.data(), std::min(bytes.size(), sizeof out));
  return out;
}
void each_attribute(std::span<const std::byte> bytes, const std::function<void(const nlattr*)>& each);
// The attribute of that type in a message behind a header of `header` bytes, or in a nest; nullptr where
// absent.
const nlattr* find(const nlmsghdr*, std::size_t header, std::uint16_t type);
const nlattr* find(const nlattr* nest, std::uint16_t type);

}  // namespace squall::netlink
