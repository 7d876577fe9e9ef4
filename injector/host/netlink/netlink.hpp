// Builds netlink messages and waits for the kernel's answer (netlink(7)), by libnl.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <linux/netlink.h>

#include "injector/system/process.hpp"

// Of libnl, whose headers bring netinet/in.h, which quarrels with linux/in.h.
struct nl_msg;
struct nl_sock;

namespace squall::netlink {

struct FreeMessage {
  void operator()(nl_msg*) const;
};
struct FreeSocket {
  void operator()(nl_sock*) const;
};
using NlSocket = std::unique_ptr<nl_sock, FreeSocket>;
// Takes the descriptor of a netlink socket; null where there is none.
NlSocket nl_socket_of(Fd);
// One read of a socket of ours: what libnl received, freed with it. `size` is negative where nothing came
// (errno).
struct Received {
  explicit Received(nl_sock*);
  ~Received();
  Received(const Received&) = delete;
  unsigned char* bytes = nullptr;
  int size = -1;
};

// Messages in a row, sent in one datagram. Attributes are in the host's byte order unless the name says
// otherwise.
class Messages {
 public:
  template <class Header>
  void begin(std::uint16_t type, std::uint16_t flags, const Header& header) {
    begin(type, flags, std::as_bytes(std::span(&header, 1)));
  }
  void begin(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header);

  void bytes(std::uint16_t attribute, const void* data, std::size_t size);
  void text(std::uint16_t attribute, std::string_view);  // with its terminating zero
  void u8(std::uint16_t attribute, std::uint8_t value) { bytes(attribute, &value, sizeof value); }
  void u16(std::uint16_t attribute, std::uint16_t value) { bytes(attribute, &value, sizeof value); }
  void u32(std::uint16_t attribute, std::uint32_t value) { bytes(attribute, &value, sizeof value); }
  void u64(std::uint16_t attribute, std::uint64_t value) { bytes(attribute, &value, sizeof value); }
  void be16(std::uint16_t attribute, std::uint16_t value);
  void be32(std::uint16_t attribute, std::uint32_t value);
  void be64(std::uint16_t attribute, std::uint64_t value);
  void raw(const void* data, std::size_t size);  // as it is, padded to four bytes

  // What is written while the nest lives lies within it.
  class Nest {
   public:
    Nest(Messages& messages, std::uint16_t attribute);
    Nest(const Nest&) = delete;
    ~Nest();

   private:
    Messages& messages_;
    std::size_t at_;
  };
  [[nodiscard]] Nest nest(std::uint16_t attribute) { return {*this, attribute}; }

  // Asks for an answer to the message begun last (NLM_F_ACK).
  void ask();

  std::span<const char> data();
  std::uint32_t first_sequence() const { return first_; }
  std::uint32_t asked_sequence() const { return asked_; }
  bool empty() const { return buffer_.empty() && !current_; }

 private:
  void close();
  void make_room(std::size_t more);

  std::vector<char> buffer_;                      // those that are whole
  std::unique_ptr<nl_msg, FreeMessage> current_;  // the one that was begun last
  std::uint32_t first_ = 0, last_ = 0, asked_ = 0;
};

// What the kernel answered: 0 or an errno, and its own words where it gave any (NETLINK_EXT_ACK).
struct Answer {
  int error = 0;
  std::string words;
  explicit operator bool() const { return error == 0; }
  std::string text() const;  // "No such file or directory (Specified qdisc kind is unknown)"
};

// A netlink socket in the network namespace of the thread that makes it; throws std::runtime_error where
// refused.
class Socket {
 public:
  explicit Socket(int protocol);
  explicit Socket(Fd made) : socket_(nl_socket_of(std::move(made))) {}
  int fd() const;
  // Moves it behind the other descriptors: the kernel closes those of a dying process from the last to the
  // first.
  void close_first();
  // … or after all others that are made from now on.
  void close_last();
  // Its descriptor, or another one of the same socket: libnl gives none of its own away.
  Fd release();
  // Sends, and waits for the answer that was asked for last; an error of any of the messages is the result.
  // `each` sees the messages that are no answers but what was asked for.
  Answer exchange(Messages&, const std::function<void(const nlmsghdr*)>& each = nullptr);

 private:
  Fd another(int from) const;  // descriptor of the socket, not below `from`
  NlSocket socket_;
};

// exchange, and throw std::runtime_error with the kernel's words where refused.
void must(Socket&, Messages&);

}  // namespace squall::netlink
