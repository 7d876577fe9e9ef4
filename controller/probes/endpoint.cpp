#include "controller/probes/endpoint.hpp"

#include <cctype>
#include <charconv>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/address_v6.hpp>

namespace squall {
namespace {

namespace ip = boost::asio::ip;

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failed != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::string lower_first(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

ip::address address_of(const addrinfo& entry) {
  if (entry.ai_family == AF_INET) {
    const auto& found = *reinterpret_cast<const sockaddr_in*>(entry.ai_addr);
    return ip::address_v4(ntohl(found.sin_addr.s_addr));
  }
  const auto& found = *reinterpret_cast<const sockaddr_in6*>(entry.ai_addr);
  ip::address_v6::bytes_type bytes;
  std::copy(std::begin(found.sin6_addr.s6_addr), std::end(found.sin6_addr.s6_addr), bytes.begin());
  return ip::address_v6(bytes, found.sin6_scope_id);
}

}  // namespace

tl::expected<Endpoint, std::string> parse_endpoint(std::string_view text,
                                                   std::optional<std::uint16_t> default_port) {
  const auto unexpected = [&] {
    return tl::unexpected(
        fmt::format("expected {}, got \"{}\"", default_port ? "host or host:port" : "host:port", text));
  };
  std::string_view host = text, rest;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == text.npos) return unexpected();
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else if (const auto colon = text.rfind(':'); colon != text.npos && colon == text.find(':')) {
    host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (host.empty()) return unexpected();
  if (rest.empty()) {
    if (!default_port) return unexpected();
    return Endpoint{std::string(host), *default_port};
  }
  const auto port = parse_port(rest.substr(1));
  if (rest[0] != ':' || !port) return unexpected();
  return Endpoint{std::string(host), *port};
}

Addresses look_up(const std::string& host) {
  boost::system::error_code not_an_address;
  const auto literal = ip::make_address(host, not_an_address);
  if (!not_an_address) return std::vector{literal};
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (const int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &first); failed != 0) {
    if (failed == EAI_NONAME || failed == EAI_NODATA)
      return tl::unexpected(fmt::format("cannot resolve \"{}\"", host));
    return tl::unexpected(
        fmt::format("cannot resolve \"{}\": {}", host, lower_first(::gai_strerror(failed))));
  }
  std::vector<ip::address> addresses;
  for (const addrinfo* entry = first; entry; entry = entry->ai_next)
    addresses.push_back(address_of(*entry));
  ::freeaddrinfo(first);
  return addresses;
}

std::unique_ptr<Background> look_up(boost::asio::io_context& loop, const std::string& host,
                                    std::function<void(const Addresses&)> done) {
  return std::make_unique<Background>(loop, [host, done = std::move(done)]() -> Background::Deliver {
    return [found = look_up(host), done] { done(found); };
  });
}

}  // namespace squall
