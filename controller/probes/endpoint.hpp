// Host and port, and from a name to addresses.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <tl/expected.hpp>

#include "controller/probes/background.hpp"

namespace squall {

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};

// "host:port", "10.0.0.1:53", "[::1]:53"; the port may be left out where there is a default.
tl::expected<Endpoint, std::string> parse_endpoint(std::string_view,
                                                   std::optional<std::uint16_t> default_port = {});

using Addresses = tl::expected<std::vector<boost::asio::ip::address>, std::string>;

// What getaddrinfo(3) says: the hosts file, then DNS. Blocks; an address is its own answer, at once.
Addresses look_up(const std::string& host);

// The same without blocking. `done` runs on the loop, never inside this call, unless the result is destroyed
// before.
std::unique_ptr<Background> look_up(boost::asio::io_context&, const std::string& host,
                                    std::function<void(const Addresses&)> done);

}  // namespace squall
