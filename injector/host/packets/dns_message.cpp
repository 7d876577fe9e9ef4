#include "injector/host/packets/dns_message.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace squall::dns {
namespace {

constexpr std::pair<std::string_view, std::uint16_t> types[] = {
    {"A", 1},     {"NS", 2},    {"CNAME", 5},  {"SOA", 6},    {"PTR", 12}, {"MX", 15},
    {"TXT", 16},  {"AAAA", 28}, {"SRV", 33},   {"NAPTR", 35}, {"DS", 43},  {"DNSKEY", 48},
    {"TLSA", 52}, {"SVCB", 64}, {"HTTPS", 65}, {"CAA", 257},  {"ANY", 255}};
constexpr std::size_t udp_header = 8, header = 12;
constexpr std::uint16_t any = 255;

std::uint8_t byte(std::span<const char> data, std::size_t at) {
  return static_cast<std::uint8_t>(data[at]);
}
std::uint16_t word(std::span<const char> data, std::size_t at) {
  return static_cast<std::uint16_t>(byte(data, at) << 8 | byte(data, at + 1));
}
void put(std::string& out, std::size_t at, std::uint16_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value);
}
void append(std::string& out, std::uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

// RFC 1071.
std::uint32_t sum(std::string_view data, std::uint32_t start = 0) {
  for (std::size_t i = 0; i < data.size(); i += 2)
    start += static_cast<std::uint32_t>(static_cast<std::uint8_t>(data[i]) << 8) +
             (i + 1 < data.size() ? static_cast<std::uint8_t>(data[i + 1]) : 0U);
  return start;
}
std::uint16_t folded(std::uint32_t value) {
  while (value >> 16)
    value = (value & 0xffff) + (value >> 16);
  return static_cast<std::uint16_t>(~value);
}

// Where the UDP header is; nothing where there is none.
std::optional<std::size_t> find_udp(std::span<const char> packet) {
  if (packet.size() < 20) return {};
  const auto version = byte(packet, 0) >> 4;
  if (version == 4) {
    const auto size = static_cast<std::size_t>(byte(packet, 0) & 15) * 4;
    const bool fragment = word(packet, 6) & 0x3fff;
    if (byte(packet, 9) != 17 || fragment || size < 20 || packet.size() < size + udp_header) return {};
    return size;
  }
  if (version != 6 || packet.size() < 40 + udp_header || byte(packet, 6) != 17) return {};
  return 40;
}

// The bytes of the name, whose labels are never compressed in a question; 0 where it is none.
std::size_t read_name(std::span<const char> message, std::size_t at, std::string& out) {
  const auto begin = at;
  while (at < message.size()) {
    const std::size_t size = byte(message, at++);
    if (size == 0) return at - begin;
    if (size > 63 || at + size > message.size() || at + size - begin > 255) return 0;
    if (!out.empty()) out += '.';
    for (std::size_t i = 0; i < size; ++i, ++at) {
      const char c = message[at];
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return 0;
}

// Behind a name that may be compressed (RFC 1035, 4.1.4); nothing where it does not end.
std::optional<std::size_t> after_name(std::span<const char> message, std::size_t at) {
  while (at < message.size()) {
    const auto size = byte(message, at);
    if (size == 0) return at + 1;
    if (size >= 0xc0) return at + 2;
    at += 1U + size;
  }
  return {};
}

// The OPT record among those behind the question; empty where there is none, or not all of it.
std::span<const char> find_opt(std::span<const char> message, std::size_t at) {
  constexpr std::uint16_t opt = 41;
  constexpr std::size_t fixed = 10;  // type, class, TTL, length
  for (unsigned left = word(message, 6) + word(message, 8) + word(message, 10); left > 0; --left) {
    const auto begin = at;
    const auto name_end = after_name(message, at);
    if (!name_end || *name_end + fixed > message.size()) return {};
    at = *name_end + fixed + word(message, *name_end + 8);
    if (at > message.size()) return {};
    if (word(message, *name_end) == opt && *name_end == begin + 1) return message.subspan(begin, at - begin);
  }
  return {};
}

}  // namespace

std::optional<std::uint16_t> type_of(std::string_view text) {
  for (auto& [name, number] : types)
    if (name == text) return number;
  std::uint16_t number = 0;
  if (text.starts_with("TYPE") &&
      std::from_chars(text.data() + 4, text.data() + text.size(), number).ptr == text.data() + text.size() &&
      text.size() > 4)
    return number;
  return {};
}

std::string type_name(std::uint16_t type) {
  for (auto& [name, number] : types)
    if (number == type) return std::string(name);
  return fmt::format("TYPE{}", type);
}

std::optional<AnswerPacket> AnswerPacket::read(std::span<const char> packet) {
  const auto udp = find_udp(packet);
  if (!udp) return {};
  const auto size = std::min<std::size_t>(word(packet, *udp + 4), packet.size() - *udp);
  if (size < udp_header + header) return {};
  const auto message = packet.subspan(*udp + udp_header, size - udp_header);
  const bool answer = byte(message, 2) & 0x80;
  if (!answer || word(message, 4) != 1) return {};
  AnswerPacket out;
  const auto name = read_name(message, header, out.question_.name);
  if (name == 0 || header + name + 4 > message.size()) return {};
  constexpr std::uint16_t internet = 1;
  if (word(message, header + name + 2) != internet) return {};
  out.question_.type = word(message, header + name);
  out.packet_ = packet;
  out.udp_ = *udp;
  out.question_size_ = name + 4;
  out.opt_ = find_opt(message, header + out.question_size_);
  return out;
}

std::span<const char> AnswerPacket::message() const {
  const auto size = std::min<std::size_t>(word(packet_, udp_ + 4), packet_.size() - udp_);
  return packet_.subspan(udp_ + udp_header, size - udp_header);
}

namespace {
// The addresses among the answers to a question that ends at `at`, in order; nothing where they cannot be
// read.
std::optional<std::vector<Address>> addresses_in(std::span<const char> message, std::size_t at) {
  constexpr std::size_t fixed = 10;  // type, class, TTL, length
  std::vector<Address> out;
  for (unsigned left = word(message, 6); left > 0; --left) {
    const auto name_end = after_name(message, at);
    if (!name_end || *name_end + fixed > message.size()) return {};
    const std::uint16_t type = word(message, *name_end), size = word(message, *name_end + 8);
    at = *name_end + fixed + size;
    if (at > message.size()) return {};
    const bool v6 = type == 28;
    if ((type != 1 && !v6) || size != (v6 ? 16 : 4)) continue;
    Address address{.v6 = v6};
    std::memcpy(address.bytes.data(), message.data() + at - size, size);
    out.push_back(address);
  }
  std::sort(out.begin(), out.end());
  return out;
}
}  // namespace

bool AnswerPacket::says(Code code, const std::vector<Address>& addresses) const {
  const auto all = message();
  if ((byte(all, 3) & 0x0f) != static_cast<std::uint8_t>(code)) return false;
  std::vector<Address> wanted;
  for (auto& address : addresses)
    if (question_.type == (address.v6 ? 28 : 1) || question_.type == any) wanted.push_back(address);
  std::sort(wanted.begin(), wanted.end());
  const auto there = addresses_in(all, header + question_size_);
  // Another kind of record is there instead of none.
  const bool other_records = question_.type != 1 && question_.type != 28 && word(all, 6) > wanted.size();
  return there && *there == wanted && (code != Code::no_error || !other_records);
}

std::string AnswerPacket::with(Code code, const std::vector<Address>& addresses,
                               std::uint32_t ttl_seconds) const {
  const auto message = udp_ + udp_header;
  std::string out{packet_.data(), message + header + question_size_};
  // What the asker wanted (RD) and the server offered (RA) stays; the answer is nobody's authority.
  out[message + 2] = static_cast<char>((byte(packet_, message + 2) & 0x79) | 0x80);
  out[message + 3] = static_cast<char>((byte(packet_, message + 3) & 0x80) | static_cast<std::uint8_t>(code));
  std::uint16_t answers = 0;
  for (auto& address : addresses) {
    const std::uint16_t type = address.v6 ? 28 : 1;
    if (question_.type != type && question_.type != any) continue;
    ++answers;
    append(out, 0xc000 | header);  // the question's name
    append(out, type);
    append(out, 1);
    append(out, static_cast<std::uint16_t>(ttl_seconds >> 16));
    append(out, static_cast<std::uint16_t>(ttl_seconds));
    const std::size_t size = address.v6 ? 16 : 4;
    append(out, static_cast<std::uint16_t>(size));
    out.append(reinterpret_cast<const char*>(address.bytes.data()), size);
  }
  put(out, message + 6, answers);
  put(out, message + 8, 0);
  put(out, message + 10, opt_.empty() ? 0 : 1);
  out.append(opt_.data(), opt_.size());
  constexpr std::size_t extended_code = 5;  // its upper bits
  if (!opt_.empty()) out[out.size() - opt_.size() + extended_code] = 0;
  const auto udp_size = static_cast<std::uint16_t>(out.size() - udp_);
  put(out, udp_ + 4, udp_size);
  put(out, udp_ + 6, 0);
  const bool v6 = udp_ == 40 && (byte(packet_, 0) >> 4) == 6;
  std::uint32_t pseudo =
      sum(v6 ? std::string_view(out).substr(8, 32) : std::string_view(out).substr(12, 8), 17U + udp_size);
  const auto checksum = folded(sum(std::string_view(out).substr(udp_), pseudo));
  put(out, udp_ + 6, checksum ? checksum : 0xffff);
  if (v6) {
    put(out, 4, udp_size);
  } else {
    put(out, 2, static_cast<std::uint16_t>(out.size()));
    put(out, 10, 0);
    put(out, 10, folded(sum(std::string_view(out).substr(0, udp_))));
  }
  return out;
}

}  // namespace squall::dns
