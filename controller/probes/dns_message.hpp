// DNS messages as far as a probe needs them (RFC 1035): one question out, its answer judged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace squall::dns {

using Message = std::vector<std::uint8_t>;

// The number of a record type: A, AAAA, CNAME, …, or TYPE257; none where nobody knows it.
std::optional<std::uint16_t> record_type(std::string_view name);

// A recursive question for the name's records. The error says what is wrong with the name.
tl::expected<Message, std::string> make_question(std::uint16_t id, std::string_view name, std::uint16_t type);

struct Reply {
  int code = 0;            // RCODE: 0 no error, 3 NXDOMAIN
  int records = 0;         // of the type that was asked for
  bool truncated = false;  // there are more than fit into UDP
};

// None where the bytes are no answer to this question: another id, another name, cut off within.
std::optional<Reply> read_reply(const Message& reply, const Message& question);

// "NXDOMAIN", "SERVFAIL", or "rcode 11".
std::string code_name(int code);

}  // namespace squall::dns
