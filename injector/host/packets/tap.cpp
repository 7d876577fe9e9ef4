#include "injector/host/packets/tap.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#include <fmt/format.h>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/netlink/netlink.hpp"
#include "injector/host/netlink/netlink_dump.hpp"
#include "injector/system/close_later.hpp"

namespace squall {

namespace {

constexpr std::size_t offload_header = 10;  // struct virtio_net_hdr, whose header is not C++
// As long as most devices' segments are, and as BIG TCP's may be.
constexpr std::size_t large_frame = 68 << 10, longest_frame = 1 << 18, small_frame = 1 << 14, most_spare = 64,
                      most_gathered = 64;
constexpr std::uint32_t queue_length = 10'000;
constexpr int frames_at_once = 256;

[[noreturn]] void refused(const std::string& attempt) {
  throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

}  // namespace

Tap::Tap(const std::string& name, const std::string& alias, std::uint32_t interface, std::uint32_t mark,
         Segments segments)
    : name_(name),
      buffer_(std::make_unique_for_overwrite<char[]>(large_frame)),
      overlong_(std::make_unique_for_overwrite<char[]>(longest_frame - large_frame)) {
  open_tap(name, segments);
  raise(alias);
  open_way_out(interface, mark);
}

void Tap::leave() {
  if (tap_) close_abreast(std::move(tap_));
}

Tap::~Tap() {
  leave();
  ifreq request{};
  name_.copy(request.ifr_name, IFNAMSIZ - 1);
  const auto patience = monotonic_ns() + 500'000'000;
  while (::ioctl(out_.get(), SIOCGIFINDEX, &request) == 0 && monotonic_ns() < patience) {
    const timespec moment{0, 100'000};
    ::nanosleep(&moment, nullptr);
  }
}

void Tap::open_tap(const std::string& name, Segments segments) {
  tap_ = Fd{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!tap_) refused("open /dev/net/tun");
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap_.get(), TUNSETIFF, &request) != 0) refused("make the tap device " + name);
  int header = offload_header;
  if (::ioctl(tap_.get(), TUNSETVNETHDRSZ, &header) != 0) refused("set the offload header of " + name);
  const unsigned offloads =
      segments == Segments::whole ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
  if (::ioctl(tap_.get(), TUNSETOFFLOAD, offloads) != 0) refused("set the offloads of " + name);
  if (::ioctl(tap_.get(), SIOCGIFHWADDR, &request) != 0) refused("read the address of " + name);
  std::memcpy(address_, request.ifr_hwaddr.sa_data, sizeof address_);
  index_ = ::if_nametoindex(name.c_str());
}

void Tap::raise(const std::string& alias) {
  netlink::Socket route{NETLINK_ROUTE};
  netlink::Messages messages;
  ifinfomsg link{};
  link.ifi_index = static_cast<int>(index_);
  messages.begin(RTM_NEWLINK, 0, link);
  messages.u32(IFLA_TXQLEN, queue_length);
  messages.bytes(IFLA_IFALIAS, alias.data(), alias.size());
  {
    auto families = messages.nest(IFLA_AF_SPEC);
    auto v6 = messages.nest(AF_INET6);
    messages.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  }
  link.ifi_flags = link.ifi_change = IFF_UP | IFF_NOARP;
  messages.begin(RTM_NEWLINK, NLM_F_ACK, link);
  if (const auto answer = route.exchange(messages); !answer)
    throw std::runtime_error("bring up the tap device: " + answer.text());
}

void Tap::open_way_out(std::uint32_t interface, std::uint32_t mark) {
  out_ = Fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
  if (!out_) refused("open a packet socket");
  const int yes = 1, size = 64 << 20;
  if (::setsockopt(out_.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
    refused("mark what a packet socket sends");
  if (::setsockopt(out_.get(), SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) != 0)
    refused("let a packet socket send large segments");
  ::setsockopt(out_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (!lead_to(interface)) refused("bind a packet socket");
  char device[IF_NAMESIZE];
  if (::if_indextoname(interface, device)) device_ = device;
}

bool Tap::lead_to(std::uint32_t interface) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(interface);
  if (::bind(out_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return false;
  interface_ = interface;
  return true;
}

bool Tap::lead_to_successor() {
  ifreq request{};
  device_.copy(request.ifr_name, IFNAMSIZ - 1);
  if (device_.empty() || ::ioctl(out_.get(), SIOCGIFINDEX, &request) != 0) return false;
  const auto found = static_cast<std::uint32_t>(request.ifr_ifindex);
  return found != interface_ && lead_to(found);
}

bool Tap::take(const std::function<void(HeldPacket&&)>& keep) {
  for (int i = 0; i < frames_at_once; ++i) {
    const iovec parts[] = {{buffer_.get(), large_frame}, {overlong_.get(), longest_frame - large_frame}};
    const auto got = ::readv(tap_.get(), parts, 2);
    // Somebody removed the device: the descriptor is there and leads nowhere (tun_get in drivers/net/tun.c).
    if (got < 0 && (errno == EBADFD || errno == EIO)) gone_ = true;
    if (got < static_cast<ssize_t>(offload_header + ETH_HLEN)) return false;
    // What the tap's own network stack says (multicast reports) is nobody's traffic.
    if (std::memcmp(buffer_.get() + offload_header + ETH_ALEN, address_, sizeof address_) == 0) continue;
    if (ends_)
      ends_->add_ends_of(
          {buffer_.get() + offload_header + ETH_HLEN,
           std::min<std::size_t>(static_cast<std::size_t>(got), large_frame) - offload_header - ETH_HLEN});
    HeldPacket packet;
    packet.source = this;
    packet.entered = monotonic_ns();
    packet.size = packet.capacity = static_cast<std::uint32_t>(got);
    packet.content = offload_header + ETH_HLEN;
    packet.wire_bytes = packet.size - static_cast<std::uint32_t>(offload_header);
    if (packet.size > small_frame && packet.size <= large_frame) {
      packet.frame = std::move(buffer_);
      packet.capacity = large_frame;
      buffer_ = spare();
    } else {
      packet.frame = std::make_unique_for_overwrite<char[]>(packet.size);
      std::memcpy(packet.frame.get(), buffer_.get(), std::min<std::size_t>(packet.size, large_frame));
      if (packet.size > large_frame)
        std::memcpy(packet.frame.get() + large_frame, overlong_.get(), packet.size - large_frame);
    }
    keep(std::move(packet));
  }
  return true;
}

std::unique_ptr<char[]> Tap::spare() {
  if (spare_.empty()) return std::make_unique_for_overwrite<char[]>(large_frame);
  auto frame = std::move(spare_.back());
  spare_.pop_back();
  return frame;
}

std::string Tap::harm() const {
  const auto link = gone_ ? std::nullopt : links::by_index(index_);
  if (!link) return fmt::format("removed our device {}", name_);
  return link->up ? "" : fmt::format("set our device {} down", name_);
}

std::uint64_t Tap::dropped() const {
  return links::traffic(index_).send_drops;
}

bool Tap::let_go(HeldPacket& packet) {
  if (gathered_.size() >= most_gathered && !flush()) return false;
  const bool large =
      packet.capacity == large_frame && packet.size > small_frame && !packet.changed && !packet.copy;
  gathered_.push_back({std::move(packet.frame), packet.size, large});
  return true;
}

bool Tap::flush() {
  while (!gathered_.empty() && send_gathered())
    continue;
  unsent_ = gathered_.size();
  return gathered_.empty();
}

// False where the first of them cannot go now.
bool Tap::send_gathered() {
  std::array<iovec, most_gathered> parts;
  std::array<mmsghdr, most_gathered> messages{};
  for (std::size_t i = 0; i < gathered_.size(); ++i) {
    parts[i] = {gathered_[i].frame.get(), gathered_[i].size};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int sent =
      ::sendmmsg(out_.get(), messages.data(), static_cast<unsigned>(gathered_.size()), MSG_DONTWAIT);
  if (sent < 0) {
    if (errno == EAGAIN) return false;
    if (errno == EINTR || (errno != ENOBUFS && lead_to_successor())) return true;
    // ENOBUFS: the device's own queue is full and drops, as it may have without us.
    ++(errno == ENOBUFS ? refused_ : lost_);
  }
  forget_sent(sent < 0 ? 1 : static_cast<std::size_t>(sent));
  return true;
}

void Tap::forget_sent(std::size_t count) {
  const auto end = gathered_.begin() + static_cast<std::ptrdiff_t>(count);
  for (auto one = gathered_.begin(); one != end; ++one)
    if (one->large && spare_.size() < most_spare) spare_.push_back(std::move(one->frame));
  gathered_.erase(gathered_.begin(), end);
}

}  // namespace squall
