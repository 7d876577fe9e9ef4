#include "injector/host/netlink/netlink_dump.hpp"

#include <cstring>

#include <netlink/netlink.h>
#include <sys/socket.h>

namespace squall::netlink {

Dumper::Dumper(int bus) : socket_(nl_socket_of(Fd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, bus)})) {}

bool Dumper::dump(std::uint16_t type, std::span<const std::byte> header,
                  const std::function<void(const nlmsghdr*)>& each) {
  if (!socket_) return false;
  Messages request;
  request.begin(type, NLM_F_DUMP, header);
  const auto sequence = request.first_sequence();
  const auto data = request.data();
  if (nl_sendto(socket_.get(), const_cast<char*>(data.data()), data.size()) < 0) return false;
  for (;;) {
    const Received got{socket_.get()};
    if (got.size <= 0) return false;
    int left = got.size;
    for (auto* head = reinterpret_cast<nlmsghdr*>(got.bytes); nlmsg_ok(head, left);
         head = nlmsg_next(head, &left)) {
      if (head->nlmsg_seq != sequence) continue;
      if (head->nlmsg_type == NLMSG_DONE) return true;
      if (head->nlmsg_type == NLMSG_ERROR) return static_cast<nlmsgerr*>(nlmsg_data(head))->error == 0;
      if (head->nlmsg_type >= NLMSG_MIN_TYPE) each(head);
      if (!(head->nlmsg_flags & NLM_F_MULTI)) return true;
    }
  }
}

std::string_view text(const nlattr* attribute) {
  if (!attribute) return {};
  auto* begin = static_cast<const char*>(nla_data(attribute));
  return {begin, strnlen(begin, nla_len(attribute))};
}

void each_attribute(std::span<const std::byte> bytes, const std::function<void(const nlattr*)>& each) {
  while (bytes.size() >= sizeof(nlattr)) {
    auto* attribute = reinterpret_cast<const nlattr*>(bytes.data());
    if (!nla_ok(attribute, static_cast<int>(bytes.size()))) return;
    each(attribute);
    bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(attribute->nla_len), bytes.size()));
  }
}

std::span<const std::byte> payload(const nlattr* attribute) {
  if (!attribute) return {};
  return {static_cast<const std::byte*>(nla_data(attribute)), static_cast<std::size_t>(nla_len(attribute))};
}

namespace {
const nlattr* find(std::span<const std::byte> bytes, std::uint16_t type) {
  const nlattr* found = nullptr;
  each_attribute(bytes, [&](const nlattr* attribute) {
    if (!found && nla_type(attribute) == type) found = attribute;
  });
  return found;
}
}  // namespace

const nlattr* find(const nlmsghdr* message, std::size_t header, std::uint16_t type) {
  auto all = std::span(static_cast<const std::byte*>(nlmsg_data(message)), nlmsg_datalen(message));
  return find(all.subspan(std::min<std::size_t>(NLA_ALIGN(header), all.size())), type);
}

const nlattr* find(const nlattr* nest, std::uint16_t type) {
  return find(payload(nest), type);
}

}  // namespace squall::netlink
