#include "injector/host/connections/client_addresses.hpp"

#include <exception>
#include <random>

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "injector/host/netlink/netlink_dump.hpp"

namespace squall {
namespace {

using boost::asio::ip::address;

constexpr std::size_t most = std::size_t{1} << 20;

template <class F>
auto with_bytes(const address& of, F act) {
  return of.is_v4() ? act(std::span<const std::uint8_t>(of.to_v4().to_bytes()))
                    : act(std::span<const std::uint8_t>(of.to_v6().to_bytes()));
}

// Whether packets to it stay here.
bool is_own(const address& of) {
  rtmsg request{};
  request.rtm_family = of.is_v4() ? AF_INET : AF_INET6;
  bool out = false;
  with_bytes(of, [&](auto bytes) {
    request.rtm_dst_len = static_cast<std::uint8_t>(8 * bytes.size());
    netlink::Socket route{NETLINK_ROUTE};
    netlink::Messages messages;
    messages.begin(RTM_GETROUTE, NLM_F_ACK, request);
    messages.bytes(RTA_DST, bytes.data(), bytes.size());
    route.exchange(messages, [&](const nlmsghdr* message) {
      if (message->nlmsg_type == RTM_NEWROUTE)
        out = static_cast<const rtmsg*>(nlmsg_data(message))->rtm_type == RTN_LOCAL;
    });
  });
  return out;
}

}  // namespace

ClientAddresses::ClientAddresses(const ConnectionRules& rules, const std::shared_ptr<OwnedTable>& table)
    : table_name_(rules.table),
      keeps_others_(rules.keeps_clients),
      table_(table),
      next_(client_priorities.first +
            std::random_device{}() % (client_priorities.second - client_priorities.first - most)) {}

std::optional<SeenAs> ClientAddresses::seen_as(const address& client) {
  const auto found = known_.find(client);
  if (found != known_.end()) return found->second;
  if (known_.size() == most) return {};
  try {
    const auto out =
        is_own(client) ? SeenAs{keeps_others_ ? client_priorities.second : 0, true} : introduce(client);
    if (out) known_.emplace(client, *out);
    return out;
  } catch (const std::exception&) {
    return {};  // the next connection tries again
  }
}

std::optional<SeenAs> ClientAddresses::introduce(const address& client) {
  const auto table = table_.lock();
  if (!keeps_others_ || !table) return {};
  auto messages = with_bytes(client, [&](auto bytes) { return introduce_client(table_name_, next_, bytes); });
  table->change(messages);
  return SeenAs{next_++, false};
}

}  // namespace squall
