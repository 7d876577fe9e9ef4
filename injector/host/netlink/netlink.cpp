#include "injector/host/netlink/netlink.hpp"

#include <array>
#include <atomic>
#include <cerrno>

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "injector/system/last_descriptors.hpp"

namespace squall::netlink {

namespace {
constexpr std::size_t aligned(std::size_t size) {
  return (size + 3) & ~std::size_t{3};
}
std::atomic<std::uint32_t> next_sequence{1};
}  // namespace

void Messages::begin(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header) {
  close();
  message_ = buffer_.size();
  last_ = next_sequence++;
  if (message_ == 0) first_ = last_;
  if (flags & NLM_F_ACK) asked_ = last_;
  const nlmsghdr head{0, type, static_cast<std::uint16_t>(flags | NLM_F_REQUEST), last_, 0};
  raw(&head, sizeof head);
  raw(header.data(), header.size());
}

void Messages::ask() {
  auto* head = reinterpret_cast<nlmsghdr*>(buffer_.data() + message_);
  head->nlmsg_flags |= NLM_F_ACK;
  asked_ = last_;
}

void Messages::raw(const void* data, std::size_t size) {
  auto* from = static_cast<const char*>(data);
  buffer_.insert(buffer_.end(), from, from + size);
  buffer_.resize(aligned(buffer_.size()));
}

void Messages::bytes(std::uint16_t attribute, const void* data, std::size_t size) {
  const nlattr head{static_cast<std::uint16_t>(sizeof(nlattr) + size), attribute};
  raw(&head, sizeof head);
  raw(data, size);
}

void Messages::text(std::uint16_t attribute, std::string_view value) {
  const std::string terminated{value};
  bytes(attribute, terminated.c_str(), terminated.size() + 1);
}

void Messages::be16(std::uint16_t attribute, std::uint16_t value) {
  u16(attribute, htons(value));
}
void Messages::be32(std::uint16_t attribute, std::uint32_t value) {
  u32(attribute, htonl(value));
}
void Messages::be64(std::uint16_t attribute, std::uint64_t value) {
  u64(attribute, htobe64(value));
}

Messages::Nest::Nest(Messages& messages, std::uint16_t attribute)
    : messages_(messages), at_(messages.buffer_.size()) {
  const nlattr head{0, static_cast<std::uint16_t>(attribute | NLA_F_NESTED)};
  messages_.raw(&head, sizeof head);
}

Messages::Nest::~Nest() {
  const auto size = static_cast<std::uint16_t>(messages_.buffer_.size() - at_);
  std::memcpy(messages_.buffer_.data() + at_, &size, sizeof size);
}

void Messages::close() {
  if (buffer_.empty()) return;
  const auto size = static_cast<std::uint32_t>(buffer_.size() - message_);
  std::memcpy(buffer_.data() + message_, &size, sizeof size);
}

std::span<const char> Messages::data() {
  close();
  return buffer_;
}

std::string Answer::text() const {
  std::string out = std::strerror(error);
  if (!words.empty()) out += " (" + words + ")";
  return out;
}

Socket::Socket(int protocol) : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
  if (!fd_) throw std::runtime_error(std::string("open a netlink socket: ") + std::strerror(errno));
  const int yes = 1;
  ::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
  ::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  // An answer is given before send(2) returns, so this is for a kernel that gives none.
  const timeval patience{2, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void Socket::close_first() {
  constexpr int behind = 960;  // below the usual limit of 1,024
  if (const int fd = ::fcntl(fd_.get(), F_DUPFD_CLOEXEC, behind); fd >= 0) fd_ = Fd{fd};
}

void Socket::close_last() {
  fd_ = among_the_last(std::move(fd_));
}

namespace {

std::string words_of(const nlmsghdr* head) {
  if (!(head->nlmsg_flags & NLM_F_ACK_TLVS)) return "";
  const auto* bytes = reinterpret_cast<const char*>(head);
  std::size_t at = NLMSG_HDRLEN + sizeof(nlmsgerr);
  const auto* error = reinterpret_cast<const nlmsgerr*>(bytes + NLMSG_HDRLEN);
  if (!(head->nlmsg_flags & NLM_F_CAPPED)) at += error->msg.nlmsg_len - sizeof(nlmsghdr);
  while (at + sizeof(nlattr) <= head->nlmsg_len) {
    const auto* attribute = reinterpret_cast<const nlattr*>(bytes + at);
    if (attribute->nla_len < sizeof(nlattr) || at + attribute->nla_len > head->nlmsg_len) break;
    if (attribute->nla_type == NLMSGERR_ATTR_MSG)
      return {bytes + at + sizeof(nlattr),
              strnlen(bytes + at + sizeof(nlattr), attribute->nla_len - sizeof(nlattr))};
    at += aligned(attribute->nla_len);
  }
  return "";
}

// The kernel takes no message that is longer than the socket's buffer for sending (netlink_sendmsg in
// net/netlink/af_netlink.c), 212,992 bytes by default. It doubles what is asked for, and forces it for
// CAP_NET_ADMIN alone.
void make_room(int fd, std::size_t size) {
  int room = 0;
  socklen_t length = sizeof room;
  const auto wanted = static_cast<int>(size + 1024);
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &length) == 0 && room >= wanted) return;
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

}  // namespace

Answer Socket::exchange(Messages& messages, const std::function<void(const nlmsghdr*)>& each) {
  const auto data = messages.data();
  make_room(fd_.get(), data.size());
  const sockaddr_nl kernel{AF_NETLINK, 0, 0, 0};
  if (::sendto(fd_.get(), data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
               sizeof kernel) < 0)
    return {errno, ""};
  Answer result;
  alignas(nlmsghdr) std::array<char, 16384> answer;
  for (;;) {
    // Once there is an error, the answer to the last message may never come.
    const auto got = ::recv(fd_.get(), answer.data(), answer.size(), result.error ? MSG_DONTWAIT : 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return result.error ? result : Answer{errno, ""};
    auto left = NLMSG_ALIGN(static_cast<std::uint32_t>(got));
    for (auto* head = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(head, left);
         head = NLMSG_NEXT(head, left)) {
      if (head->nlmsg_type != NLMSG_ERROR && each) each(head);
      if (head->nlmsg_type != NLMSG_ERROR || head->nlmsg_seq < messages.first_sequence()) continue;
      const auto error = -static_cast<nlmsgerr*>(NLMSG_DATA(head))->error;
      if (error && !result.error) result = {error, words_of(head)};
      if (head->nlmsg_seq == messages.asked_sequence()) return result;
    }
  }
}

void must(Socket& socket, Messages& messages) {
  if (const auto answer = socket.exchange(messages); !answer) throw std::runtime_error(answer.text());
}

}  // namespace squall::netlink
