#include "injector/host/netlink/kept.hpp"

#include <algorithm>
#include <charconv>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/system/process.hpp"

namespace squall::links {
namespace {

std::size_t header_size(std::uint16_t type) {
  switch (type) {
    case RTM_NEWADDR:
      return NLMSG_ALIGN(sizeof(ifaddrmsg));
    case RTM_NEWNEXTHOP:
      return NLMSG_ALIGN(sizeof(nhmsg));
    case RTM_NEWNEIGH:
      return NLMSG_ALIGN(sizeof(ndmsg));
    default:
      return NLMSG_ALIGN(sizeof(rtmsg));
  }
}

std::string to_hex(const std::vector<char>& bytes) {
  std::string out;
  for (unsigned char byte : bytes)
    out += fmt::format("{:02x}", byte);
  return out;
}

std::vector<char> from_hex(const std::string& text) {
  std::vector<char> out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    unsigned char byte = 0;
    std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

}  // namespace

std::span<const std::byte> Kept::attributes() const {
  const auto all = std::as_bytes(std::span(payload));
  return all.subspan(std::min(header_size(type), all.size()));
}

const nlattr* Kept::find(std::uint16_t wanted) const {
  const nlattr* out = nullptr;
  netlink::each_attribute(attributes(), [&](const nlattr* one) {
    if (!out && nla_type(one) == wanted) out = one;
  });
  return out;
}

std::uint32_t Kept::number(std::uint16_t wanted) const {
  return netlink::value<std::uint32_t>(find(wanted));
}

Kept keep(const nlmsghdr* message, std::span<const std::byte> header,
          std::initializer_list<std::uint16_t> left_out) {
  Kept out{.type = message->nlmsg_type, .payload = std::vector<char>(NLMSG_ALIGN(header.size()))};
  std::memcpy(out.payload.data(), header.data(), header.size());
  const auto all = std::span(static_cast<const std::byte*>(nlmsg_data(message)), nlmsg_datalen(message));
  netlink::each_attribute(
      all.subspan(std::min(out.payload.size(), all.size())), [&](const nlattr* attribute) {
        if (std::find(left_out.begin(), left_out.end(), nla_type(attribute)) != left_out.end()) return;
        const auto* bytes = reinterpret_cast<const char*>(attribute);
        out.payload.insert(out.payload.end(), bytes, bytes + attribute->nla_len);
        out.payload.resize(NLMSG_ALIGN(out.payload.size()));
      });
  return out;
}

boost::json::object to_json(const Kept& kept) {
  boost::json::object out{{"type", kept.type}, {"message", to_hex(kept.payload)}};
  if (kept.until) out["until"] = kept.until;
  if (kept.shares_key) out["shares_key"] = true;
  return out;
}

Kept kept_from(const boost::json::object& record) {
  return {.type = static_cast<std::uint16_t>(undo::number_of(record, "type")),
          .payload = from_hex(undo::text_of(record, "message")),
          .until = static_cast<std::int64_t>(undo::number_of(record, "until")),
          .shares_key = record.contains("shares_key")};
}

netlink::Answer make(netlink::Socket& route, const Kept& kept, std::uint16_t flags) {
  netlink::Messages messages;
  messages.begin(kept.type, static_cast<std::uint16_t>(NLM_F_ACK | flags),
                 std::as_bytes(std::span(kept.payload)));
  if (kept.until) {
    constexpr std::int64_t second = 1'000'000'000;
    const auto left = (kept.until - boottime_ns() + second / 2) / second;
    messages.u32(RTA_EXPIRES, static_cast<std::uint32_t>(std::max<std::int64_t>(left, 1)));
  }
  return route.exchange(messages);
}

}  // namespace squall::links
