#include "injector/proxy/address.hpp"

#include <cctype>
#include <charconv>

namespace squall::proxy {

Address split_address(const std::string& text) {
  Address out;
  const auto colon = text.rfind(':');
  out.host = text.substr(0, colon);
  if (colon != std::string::npos) out.port = text.substr(colon + 1);
  if (out.host.size() >= 2 && out.host.front() == '[' && out.host.back() == ']')
    out.host = out.host.substr(1, out.host.size() - 2);
  std::uint16_t number = 0;
  const auto* end = out.port.data() + out.port.size();
  if (const auto [at, error] = std::from_chars(out.port.data(), end, number);
      error == std::errc{} && at == end && !out.port.empty())
    out.number = number;
  return out;
}

bool names_a_port(const Address& address) {
  return address.number ||
         (!address.port.empty() && std::isalpha(static_cast<unsigned char>(address.port.front())));
}

}  // namespace squall::proxy
