#include "controller/probes/dns_message.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

namespace squall::dns {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::uint16_t class_in = 1;

struct Named {
  std::string_view name;
  std::uint16_t number;
};
constexpr std::array types = {Named{"A", 1},    Named{"NS", 2},     Named{"CNAME", 5}, Named{"SOA", 6},
                              Named{"PTR", 12}, Named{"MX", 15},    Named{"TXT", 16},  Named{"AAAA", 28},
                              Named{"SRV", 33}, Named{"NAPTR", 35}, Named{"SVCB", 64}, Named{"HTTPS", 65},
                              Named{"CAA", 257}};

bool same_letters(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::toupper(x) == std::toupper(y); });
}

void put16(Message& to, unsigned value) {
  to.push_back(static_cast<std::uint8_t>(value >> 8));
  to.push_back(static_cast<std::uint8_t>(value));
}

// Reads forward through a message and remembers when it ran over its end.
class Reader {
 public:
  Reader(const Message& message, std::size_t at) : message_(message), at_(at) {}
  bool whole() const { return at_ <= message_.size(); }
  void skip(std::size_t size) { at_ = std::min(at_ + size, message_.size() + 1); }

  std::uint16_t get16() {
    const std::size_t from = at_;
    skip(2);
    return whole() ? static_cast<std::uint16_t>(message_[from] << 8 | message_[from + 1]) : std::uint16_t{0};
  }

  // Labels up to the root, or to a pointer, which ends a name (RFC 1035, 4.1.4).
  void skip_name() {
    while (at_ < message_.size()) {
      const std::uint8_t length = message_[at_];
      if (length >= 0xc0) return skip(2);
      skip(1 + std::size_t{length});
      if (length == 0) return;
    }
    skip(1);
  }

 private:
  const Message& message_;
  std::size_t at_;
};

}  // namespace

std::optional<std::uint16_t> record_type(std::string_view name) {
  for (const Named& type : types)
    if (same_letters(type.name, name)) return type.number;
  if (name.size() > 4 && same_letters(name.substr(0, 4), "TYPE")) {
    std::uint16_t number = 0;
    const char* end = name.data() + name.size();
    const auto [stopped, failed] = std::from_chars(name.data() + 4, end, number);
    if (failed == std::errc{} && stopped == end) return number;
  }
  return std::nullopt;
}

tl::expected<Message, std::string> make_question(std::uint16_t id, std::string_view name,
                                                 std::uint16_t type) {
  Message message;
  put16(message, id);
  put16(message, 0x0100);  // recursion desired
  put16(message, 1);       // one question
  message.resize(header_size);
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > 253)
    return tl::unexpected(fmt::format("expected a domain name of 1 to 253 bytes, got \"{}\"", name));
  for (std::size_t from = 0; from <= name.size();) {
    const std::size_t dot = std::min(name.find('.', from), name.size());
    const std::string_view label = name.substr(from, dot - from);
    if (label.empty() || label.size() > 63)
      return tl::unexpected(fmt::format("expected labels of 1 to 63 bytes, got \"{}\"", name));
    message.push_back(static_cast<std::uint8_t>(label.size()));
    message.insert(message.end(), label.begin(), label.end());
    from = dot + 1;
  }
  message.push_back(0);
  put16(message, type);
  put16(message, class_in);
  return message;
}

std::optional<Reply> read_reply(const Message& reply, const Message& question) {
  if (reply.size() < header_size || reply[0] != question[0] || reply[1] != question[1]) return std::nullopt;
  if (!(reply[2] & 0x80)) return std::nullopt;  // a question itself
  Reader counts(reply, 4);
  const unsigned questions = counts.get16(), answers = counts.get16();
  Reply result{.code = reply[3] & 0x0f, .truncated = (reply[2] & 0x02) != 0};
  // A server that could not read the question may leave it out.
  if (questions == 0) return result.code != 0 ? std::optional(result) : std::nullopt;
  if (questions != 1 || reply.size() < question.size()) return std::nullopt;
  const auto text = [](const Message& m, std::size_t end) {
    return std::string_view(reinterpret_cast<const char*>(m.data()) + header_size, end - header_size);
  };
  if (!same_letters(text(reply, question.size()), text(question, question.size()))) return std::nullopt;
  const int type = question[question.size() - 4] << 8 | question[question.size() - 3];
  Reader records(reply, question.size());
  for (unsigned i = 0; i < answers; ++i) {
    records.skip_name();
    const int of_type = records.get16();
    records.skip(6);  // class, time to live
    records.skip(records.get16());
    if (!records.whole()) return result.truncated ? std::optional(result) : std::nullopt;
    result.records += of_type == type;
  }
  return result;
}

std::string code_name(int code) {
  static constexpr std::array<std::string_view, 6> names = {"NOERROR",  "FORMERR", "SERVFAIL",
                                                            "NXDOMAIN", "NOTIMP",  "REFUSED"};
  if (code >= 0 && static_cast<std::size_t>(code) < names.size())
    return std::string(names[static_cast<std::size_t>(code)]);
  return fmt::format("rcode {}", code);
}

}  // namespace squall::dns
