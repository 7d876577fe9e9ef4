#include "injector/host/netlink/netlink_dump.hpp"

#include <array>
#include <cstring>

namespace squall::netlink {

Dumper::Dumper(int bus) : socket_(mnl_socket_open2(bus, SOCK_CLOEXEC)) {
  if (socket_ && mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) {
    mnl_socket_close(socket_);
    socket_ = nullptr;
  }
}

Dumper::~Dumper() {
  if (socket_) mnl_socket_close(socket_);
}

bool Dumper::dump(std::uint16_t type, std::span<const std::byte> header,
                  const std::function<void(const nlmsghdr*)>& each) {
  if (!socket_) return false;
  alignas(nlmsghdr) std::array<char, 512> request{};
  auto* message = mnl_nlmsg_put_header(request.data());
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message->nlmsg_seq = ++sequence_;
  std::memcpy(mnl_nlmsg_put_extra_header(message, header.size()), header.data(), header.size());
  if (mnl_socket_sendto(socket_, message, message->nlmsg_len) < 0) return false;

  auto visit = [](const nlmsghdr* one, void* data) {
    (*static_cast<const std::function<void(const nlmsghdr*)>*>(data))(one);
    return MNL_CB_OK;
  };
  // The kernel fills up to 32 KiB a read for a reader that offers as much (netlink_dump in
  // net/netlink/af_netlink.c).
  std::vector<char> answer(32768);
  for (;;) {
    auto length = mnl_socket_recvfrom(socket_, answer.data(), answer.size());
    if (length < 0) return false;
    auto more = mnl_cb_run(answer.data(), static_cast<std::size_t>(length), sequence_, 0, visit,
                           const_cast<void*>(static_cast<const void*>(&each)));
    if (more < 0 && errno == EINTR) continue;  // NLM_F_DUMP_INTR: something changed while we read
    if (more <= 0) return more == 0;
  }
}

std::string_view text(const nlattr* attribute) {
  if (!attribute) return {};
  auto* begin = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return {begin, strnlen(begin, mnl_attr_get_payload_len(attribute))};
}

// libmnl's own loops cast const away and do not compile as C++ (mnl_attr_for_each).
void each_attribute(std::span<const std::byte> bytes, const std::function<void(const nlattr*)>& each) {
  while (bytes.size() >= sizeof(nlattr)) {
    auto* attribute = reinterpret_cast<const nlattr*>(bytes.data());
    if (!mnl_attr_ok(attribute, static_cast<int>(bytes.size()))) return;
    each(attribute);
    bytes = bytes.subspan(std::min<std::size_t>(MNL_ALIGN(attribute->nla_len), bytes.size()));
  }
}

std::span<const std::byte> payload(const nlattr* attribute) {
  if (!attribute) return {};
  return {static_cast<const std::byte*>(mnl_attr_get_payload(attribute)),
          mnl_attr_get_payload_len(attribute)};
}

namespace {
const nlattr* find(std::span<const std::byte> bytes, std::uint16_t type) {
  const nlattr* found = nullptr;
  each_attribute(bytes, [&](const nlattr* attribute) {
    if (!found && mnl_attr_get_type(attribute) == type) found = attribute;
  });
  return found;
}
}  // namespace

const nlattr* find(const nlmsghdr* message, std::size_t header, std::uint16_t type) {
  auto all = std::span(static_cast<const std::byte*>(mnl_nlmsg_get_payload(message)),
                       mnl_nlmsg_get_payload_len(message));
  return find(all.subspan(std::min<std::size_t>(MNL_ALIGN(header), all.size())), type);
}

const nlattr* find(const nlattr* nest, std::uint16_t type) {
  return find(payload(nest), type);
}

}  // namespace squall::netlink
