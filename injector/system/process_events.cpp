#include "injector/system/process_events.hpp"

#include <array>
#include <cstring>

#include <sys/socket.h>

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>

namespace squall {
namespace {

// A netlink message with a connector message in it, whose last member has no fixed size.
constexpr std::size_t connector_at = NLMSG_ALIGN(sizeof(nlmsghdr)),
                      payload_at = connector_at + sizeof(cn_msg);

Fd open_connector() {
  Fd socket{::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR)};
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = CN_IDX_PROC;
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  const int room = 1 << 20;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  std::array<char, payload_at + sizeof(proc_cn_mcast_op)> message{};
  nlmsghdr header{};
  header.nlmsg_len = message.size();
  header.nlmsg_type = NLMSG_DONE;
  cn_msg connector{};
  connector.id = {CN_IDX_PROC, CN_VAL_PROC};
  connector.len = sizeof(proc_cn_mcast_op);
  const auto listen = PROC_CN_MCAST_LISTEN;
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + connector_at, &connector, sizeof connector);
  std::memcpy(message.data() + payload_at, &listen, sizeof listen);
  if (::send(socket.get(), message.data(), message.size(), 0) != static_cast<ssize_t>(message.size()))
    return {};
  return socket;
}

}  // namespace

ProcessEvents::ProcessEvents(boost::asio::io_context& io, Take take) : socket_(io), take_(std::move(take)) {
  if (auto socket = open_connector()) {
    socket_.assign(socket.release());
    listen();
  }
}

void ProcessEvents::listen() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = std::weak_ptr<bool>(alive_)](auto error) {
                       if (error || alive.expired()) return;
                       catch_up();
                       listen();
                     });
}

// Where more happened than the socket holds some is lost (ENOBUFS), and whoever listens has to look for
// himself now and then.
void ProcessEvents::catch_up() {
  if (!socket_.is_open()) return;
  alignas(nlmsghdr) std::array<char, 8192> buffer;
  for (;;) {
    const auto size = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), 0);
    if (size <= 0) return;
    if (static_cast<std::size_t>(size) < payload_at + sizeof(proc_event)) continue;
    proc_event event;
    std::memcpy(&event, buffer.data() + payload_at, sizeof event);
    const auto at = static_cast<std::int64_t>(event.timestamp_ns);
    if (event.what == proc_event::PROC_EVENT_EXEC) take_(What::begun, event.event_data.exec.process_tgid, at);
    if (event.what == proc_event::PROC_EVENT_EXIT) take_(What::ended, event.event_data.exit.process_tgid, at);
    const auto& fork = event.event_data.fork;
    if (event.what == proc_event::PROC_EVENT_FORK && fork.child_pid == fork.child_tgid)
      take_(What::begun, fork.child_tgid, at);
  }
}

}  // namespace squall
