#include "injector/host/netlink/netlink.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "injector/system/last_descriptors.hpp"

namespace squall::netlink {

namespace {
constexpr std::size_t aligned(std::size_t size) {
  return (size + 3) & ~std::size_t{3};
}
std::atomic<std::uint32_t> next_sequence{1};
constexpr std::size_t usual_size = 1024;  // of a message; it grows
// The kernel fills up to 32 KiB a read for a reader that offers as much (netlink_dump in
// net/netlink/af_netlink.c).
constexpr std::size_t most_at_once = 32768;
}  // namespace

void Messages::begin(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header) {
  close();
  last_ = next_sequence++;
  if (buffer_.empty()) first_ = last_;
  if (flags & NLM_F_ACK) asked_ = last_;
  current_.reset(nlmsg_alloc_size(usual_size));
  if (!current_) throw std::bad_alloc{};
  nlmsg_put(current_.get(), 0, last_, type, 0, flags | NLM_F_REQUEST);
  raw(header.data(), header.size());
}

void Messages::ask() {
  nlmsg_hdr(current_.get())->nlmsg_flags |= NLM_F_ACK;
  asked_ = last_;
}

// libnl refuses what does not fit into a message that was made smaller.
void Messages::make_room(std::size_t more) {
  const auto wanted = nlmsg_hdr(current_.get())->nlmsg_len + aligned(more) + NLA_HDRLEN + NLMSG_ALIGNTO;
  const auto room = nlmsg_get_max_size(current_.get());
  if (wanted > room && nlmsg_expand(current_.get(), std::max(wanted, 2 * room)) != 0) throw std::bad_alloc{};
}

void Messages::raw(const void* data, std::size_t size) {
  make_room(size);
  nlmsg_append(current_.get(), const_cast<void*>(data), size, NLMSG_ALIGNTO);
}

void Messages::bytes(std::uint16_t attribute, const void* data, std::size_t size) {
  make_room(size);
  nla_put(current_.get(), attribute, static_cast<int>(size), data);
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

// By its place: the message may move while it grows.
Messages::Nest::Nest(Messages& messages, std::uint16_t attribute) : messages_(messages) {
  messages_.make_room(0);
  auto* message = messages_.current_.get();
  at_ = nlmsg_hdr(message)->nlmsg_len;
  nla_nest_start(message, attribute | NLA_F_NESTED);
}

Messages::Nest::~Nest() {
  auto* message = messages_.current_.get();
  nla_nest_end_keep_empty(message,
                          reinterpret_cast<nlattr*>(reinterpret_cast<char*>(nlmsg_hdr(message)) + at_));
}

void Messages::close() {
  if (!current_) return;
  const auto* head = nlmsg_hdr(current_.get());
  const auto* bytes = reinterpret_cast<const char*>(head);
  buffer_.insert(buffer_.end(), bytes, bytes + head->nlmsg_len);
  buffer_.resize(aligned(buffer_.size()));
  current_.reset();
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

void FreeMessage::operator()(nl_msg* message) const {
  nlmsg_free(message);
}
void FreeSocket::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

NlSocket nl_socket_of(Fd made) {
  if (!made) return nullptr;
  NlSocket out{nl_socket_alloc()};
  if (!out) throw std::bad_alloc{};
  if (nl_socket_set_fd(out.get(), -1, made.get()) != 0) return nullptr;
  [[maybe_unused]] const int taken = made.release();
  nl_socket_set_msg_buf_size(out.get(), most_at_once);
  return out;
}

Received::Received(nl_sock* socket) {
  sockaddr_nl from{};
  errno = 0;
  size = nl_recv(socket, &from, &bytes, nullptr);
  if (size <= 0 && errno == 0) errno = EIO;
}

Received::~Received() {
  std::free(bytes);
}

// Not by nl_connect(3), which makes its buffers smaller than the kernel's default and binds it: the kernel
// does that when something is sent.
Socket::Socket(int protocol) : Socket(Fd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)}) {
  if (!socket_) throw std::runtime_error(std::string("open a netlink socket: ") + std::strerror(errno));
  const int yes = 1;
  ::setsockopt(fd(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
  ::setsockopt(fd(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  // An answer is given before send(2) returns, so this is for a kernel that gives none.
  const timeval patience{2, 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

int Socket::fd() const {
  return socket_ ? nl_socket_get_fd(socket_.get()) : -1;
}

Fd Socket::another(int from) const {
  return Fd{fd() < 0 ? -1 : ::fcntl(fd(), F_DUPFD_CLOEXEC, from)};
}

void Socket::close_first() {
  constexpr int behind = 960;  // below the usual limit of 1,024
  if (auto moved = nl_socket_of(another(behind))) socket_ = std::move(moved);
}

void Socket::close_last() {
  if (auto moved = another(0)) socket_ = nl_socket_of(among_the_last(std::move(moved)));
}

Fd Socket::release() {
  auto out = another(fd());
  socket_.reset();
  return out;
}

namespace {

std::string words_of(const nlmsghdr* head) {
  if (!(head->nlmsg_flags & NLM_F_ACK_TLVS)) return "";
  const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(head));
  auto at = static_cast<int>(sizeof *error);
  if (!(head->nlmsg_flags & NLM_F_CAPPED)) at += static_cast<int>(error->msg.nlmsg_len - sizeof(nlmsghdr));
  if (at >= nlmsg_datalen(head)) return "";
  const auto* found = nla_find(nlmsg_attrdata(head, at), nlmsg_attrlen(head, at), NLMSGERR_ATTR_MSG);
  if (!found) return "";
  const auto* words = static_cast<const char*>(nla_data(found));
  return {words, strnlen(words, static_cast<std::size_t>(nla_len(found)))};
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
  if (!socket_) return {EBADF, ""};
  make_room(fd(), data.size());
  if (nl_sendto(socket_.get(), const_cast<char*>(data.data()), data.size()) < 0) return {errno, ""};
  Answer result;
  for (;;) {
    // Once there is an error, the answer to the last message may never come.
    pollfd more{fd(), POLLIN, 0};
    if (result.error && ::poll(&more, 1, 0) != 1) return result;
    const Received got{socket_.get()};
    if (got.size <= 0) return result.error ? result : Answer{errno, ""};
    int left = got.size;
    for (auto* head = reinterpret_cast<nlmsghdr*>(got.bytes); nlmsg_ok(head, left);
         head = nlmsg_next(head, &left)) {
      if (head->nlmsg_type != NLMSG_ERROR && each) each(head);
      if (head->nlmsg_type != NLMSG_ERROR || head->nlmsg_seq < messages.first_sequence()) continue;
      const auto error = -static_cast<nlmsgerr*>(nlmsg_data(head))->error;
      if (error && !result.error) result = {error, words_of(head)};
      if (head->nlmsg_seq == messages.asked_sequence()) return result;
    }
  }
}

void must(Socket& socket, Messages& messages) {
  if (const auto answer = socket.exchange(messages); !answer) throw std::runtime_error(answer.text());
}

}  // namespace squall::netlink
