#include "injector/faults/claims.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr std::string_view with = " with ", between = ", ", in_namespace = " in the network namespace ";

struct Claim {
  std::string_view what;
  std::vector<Prefix> peers;            // empty: every peer
  std::uint64_t network_namespace = 0;  // 0: it is no matter of one
};

Claim read_peers(std::string_view text) {
  Claim out{text, {}};
  const auto begin = text.rfind(with);
  if (begin == std::string_view::npos) return out;
  for (auto rest = text.substr(begin + with.size()); !rest.empty();) {
    const auto end = std::min(rest.find(between), rest.size());
    const auto peer = parse_prefix(rest.substr(0, end));
    if (!peer) return {text, {}};  // those are no peers
    out.peers.push_back(*peer);
    rest.remove_prefix(std::min(end + between.size(), rest.size()));
  }
  out.what = text.substr(0, begin);
  return out;
}

// Two injectors in different network namespaces may hold the same, and may mean one thing by two texts.
Claim read(std::string_view text, std::uint64_t own) {
  auto out = read_peers(text);
  if (!out.what.starts_with("packets of ") && !out.what.starts_with("tcp connections")) return out;
  out.network_namespace = own;
  const auto at = out.what.rfind(in_namespace);
  if (at == std::string_view::npos) return out;
  const auto number = out.what.substr(at + in_namespace.size());
  if (std::from_chars(number.data(), number.data() + number.size(), out.network_namespace).ec == std::errc{})
    out.what = out.what.substr(0, at);
  return out;
}

bool overlap(const std::vector<Prefix>& some, const std::vector<Prefix>& others) {
  return std::any_of(some.begin(), some.end(), [&](auto& one) {
    return std::any_of(others.begin(), others.end(),
                       [&](auto& other) { return one.covers(other) || other.covers(one); });
  });
}

bool exclude(const Claim& one, const Claim& other) {
  return one.what == other.what && one.network_namespace == other.network_namespace &&
         (one.peers.empty() || other.peers.empty() || overlap(one.peers, other.peers));
}

}  // namespace

std::string claim_with_peers(const std::string& what, const std::vector<Prefix>& peers) {
  auto out = what;
  for (auto& peer : peers)
    out += fmt::format("{}{}", &peer == &peers.front() ? with : between, to_string(peer));
  return out;
}

std::string Clash::told() const {
  return ours == theirs ? fmt::format("\"{}\"", ours)
                        : fmt::format("\"{}\", which overlaps \"{}\"", ours, theirs);
}

std::optional<Clash> clash(const Claims& ours, const Claims& theirs) {
  std::vector<Claim> held;
  for (auto& text : theirs.texts)
    held.push_back(read(text, theirs.network_namespace));
  for (auto& text : ours.texts) {
    const auto claim = read(text, ours.network_namespace);
    const auto found =
        std::find_if(held.begin(), held.end(), [&](auto& other) { return exclude(claim, other); });
    if (found != held.end()) return Clash{text, theirs.texts[static_cast<std::size_t>(found - held.begin())]};
  }
  return {};
}

}  // namespace squall
