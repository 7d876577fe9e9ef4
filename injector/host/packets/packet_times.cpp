#include "injector/host/packets/packet_times.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <fmt/format.h>

#include "injector/host/tc/packet_filter.hpp"
#include "injector/system/close_later.hpp"

namespace squall {

namespace {

constexpr int buffer_bytes = 16 << 20;
constexpr std::size_t many = 4096;             // packets between two looks
constexpr std::size_t most_waiting = 200'000;  // of packets that were lost on their way
constexpr std::int64_t most_early_ns = 500'000'000;

[[noreturn]] void fail(std::string_view attempt) {
  throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

void filter(const Fd& socket, unsigned one_in, std::uint32_t bytes) {
  auto program = sampling_filter(one_in, bytes);
  const sock_fprog attached{static_cast<unsigned short>(program.size()), program.data()};
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached) != 0)
    fail("filter the packets to be timed");
}

Fd open_socket(std::uint32_t bytes) {
  // Without a protocol it hears nothing until it is bound.
  Fd out{::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (out.get() < 0) fail("open a packet socket");
  const int on = 1;
  if (::setsockopt(out.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
    fail("have packets stamped with their time");
  if (::setsockopt(out.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) != 0)
    ::setsockopt(out.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
  filter(out, 1, bytes);
  return out;
}

void bind_to(const Fd& socket, const std::string& device) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
  if (address.sll_ifindex == 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("listen to " + device);
}

std::int64_t stamp_of(msghdr& header) {
  for (auto* control = CMSG_FIRSTHDR(&header); control; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SO_TIMESTAMPNS) continue;
    timespec time{};
    std::memcpy(&time, CMSG_DATA(control), sizeof time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  }
  return 0;
}

}  // namespace

PacketTimes::PacketTimes(std::uint32_t bytes)
    : before_(open_socket(bytes)), after_(open_socket(bytes)), bytes_(bytes) {}

PacketTimes::~PacketTimes() {
  close_later(std::move(before_));
  close_later(std::move(after_));
}

void PacketTimes::listen(const std::string& before, const std::string& after) {
  bind_to(before_, before);
  bind_to(after_, after);
}

std::size_t PacketTimes::take(const Fd& socket, std::deque<Seen>& into) {
  constexpr unsigned batch = 64;
  std::vector<char> packets(std::size_t{batch} * bytes_);
  std::array<std::array<char, CMSG_SPACE(sizeof(timespec))>, batch> controls;
  std::array<iovec, batch> vectors;
  std::array<mmsghdr, batch> messages;
  std::size_t count = 0;
  for (;;) {
    for (unsigned i = 0; i < batch; ++i) {
      vectors[i] = {&packets[std::size_t{i} * bytes_], bytes_};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = controls[i].data();
      messages[i].msg_hdr.msg_controllen = controls[i].size();
    }
    const int got = ::recvmmsg(socket.get(), messages.data(), batch, MSG_DONTWAIT | MSG_TRUNC, nullptr);
    if (got <= 0) return count;
    for (int i = 0; i < got; ++i) {
      const auto length = messages[static_cast<unsigned>(i)].msg_len;
      const std::string_view bytes{&packets[static_cast<std::size_t>(i) * bytes_],
                                   std::min<std::size_t>(length, bytes_)};
      if (ends_ && &socket == &before_ && bytes.size() > ETH_HLEN) ends_->add_ends_of(bytes.substr(ETH_HLEN));
      into.push_back({std::hash<std::string_view>{}(bytes) ^ length,
                      stamp_of(messages[static_cast<unsigned>(i)].msg_hdr)});
    }
    count += static_cast<std::size_t>(got);
    if (got < static_cast<int>(batch)) return count;
  }
}

void PacketTimes::look_at_fewer() {
  if (one_in_ >= 4096) return;
  one_in_ *= 8;
  filter(before_, one_in_, bytes_);
  filter(after_, one_in_, bytes_);
}

void PacketTimes::each(const std::function<void(std::int64_t, std::int64_t)>& tell) {
  std::deque<Seen> sent;
  // In this order: what is seen behind was before by then.
  take(after_, early_);
  const auto count = take(before_, sent);
  for (auto& one : sent)
    waiting_[one.packet].push_back(one.at);
  waiting_count_ += sent.size();

  std::deque<Seen> still_early;
  const auto now = wall_ns();
  for (auto& one : early_) {
    auto found = waiting_.find(one.packet);
    if (found == waiting_.end()) {
      if (now - one.at < most_early_ns && still_early.size() < many)
        still_early.push_back(one);
      else
        altered_ += one_in_;
      continue;
    }
    tell(found->second.front(), one.at);
    found->second.pop_front();
    --waiting_count_;
    if (found->second.empty()) waiting_.erase(found);
  }
  early_ = std::move(still_early);
  if (waiting_count_ > most_waiting) waiting_.clear(), waiting_count_ = 0;
  if (count > many) look_at_fewer();
}

}  // namespace squall
