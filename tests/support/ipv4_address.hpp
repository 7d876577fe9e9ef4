// The address of an IPv4 socket.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace squall::testing {

// Of "10.99.0.1"; throws std::invalid_argument where that is none.
inline sockaddr_in ipv4_address(const char* text, std::uint16_t port) {
  sockaddr_in out{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  if (::inet_pton(AF_INET, text, &out.sin_addr) != 1)
    throw std::invalid_argument(std::string("no IPv4 address: ") + text);
  return out;
}

}  // namespace squall::testing
