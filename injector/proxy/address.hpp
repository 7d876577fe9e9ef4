// host:port as users write it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace squall::proxy {

struct Address {
  std::string host, port;
  std::optional<std::uint16_t> number;  // of the port, where it is a number
};
// Whether the port is a number of one, or a service's name; getaddrinfo(3) takes the lower 16 bits of any
// number.
bool names_a_port(const Address&);
// "[::1]:80", "localhost:http", ":80"; the host may be empty.
Address split_address(const std::string&);

}  // namespace squall::proxy
