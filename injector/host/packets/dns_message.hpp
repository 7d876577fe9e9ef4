// DNS messages in UDP packets (RFC 1035, RFC 3596): whose question an answer is for, and other answers to it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace squall::dns {

struct Question {
  std::string name;  // "www.example.org", in small letters, without the last dot; the root is ""
  std::uint16_t type = 0;
};

// "A", "TXT" and others of RFC 1035 and its successors, or "TYPE65"; nothing where it is none.
std::optional<std::uint16_t> type_of(std::string_view);
std::string type_name(std::uint16_t);

enum class Code : std::uint8_t { no_error = 0, server_failure = 2, no_such_name = 3, refused = 5 };

struct Address {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // IPv4 uses the first four
  auto operator<=>(const Address&) const = default;
};

// An IPv4 or IPv6 packet with a DNS answer to one question in it.
class AnswerPacket {
 public:
  // Nothing where the packet is anything else, or a fragment.
  static std::optional<AnswerPacket> read(std::span<const char> packet);
  const Question& question() const { return question_; }
  // Whether it says the same to its question as `with` would, but for how long it may be remembered.
  bool says(Code, const std::vector<Address>&) const;
  // The same packet with another answer to the same question: to the same asker, with correct lengths and
  // checksums. Records of the question's type alone, or, where that is ANY, all of them; none is an empty
  // answer (with no_error: NODATA, RFC 2308). Who asked by EDNS is answered by EDNS (RFC 6891, 6.1.1): the
  // server's OPT record stays.
  std::string with(Code, const std::vector<Address>&, std::uint32_t ttl_seconds) const;

 private:
  std::span<const char> packet_;
  std::span<const char> message() const;

  std::size_t udp_ = 0, question_size_ = 0;  // where the UDP header is; of the question on the wire
  std::span<const char> opt_;                // empty where there is none
  Question question_;
};

}  // namespace squall::dns
