#include "controller/plan/topology.hpp"

#include <algorithm>

#include <boost/asio/ip/address.hpp>

#include "controller/plan/seed.hpp"
#include "scenarios/text/text.hpp"

namespace squall {
namespace {

const Value* topology_of(const Step& step) {
  return step.fault == "network.partition" && step.with.kind == Value::Kind::map ? step.with.find("topology")
                                                                                 : nullptr;
}

// Whether the host at place `a` of the drawn order of `count` cannot hear the one at place `b`.
bool deaf(Topology topology, std::size_t a, std::size_t b, std::size_t count) {
  switch (topology) {
    case Topology::isolate_one:
      return (a == 0) != (b == 0);
    case Topology::halves:
      return (a < count / 2) != (b < count / 2);
    case Topology::one_way:
      return b == 0;
    case Topology::majority_ring: {
      // As many neighbours on either side as a majority needs. Where a bare majority is an even number that
      // is one more, so that hearing stays mutual.
      const std::size_t majority = count / 2 + 1, apart = a > b ? a - b : b - a;
      return std::min(apart, count - apart) > majority / 2;
    }
  }
  return false;
}

// One spelling of each: fd88:0:0::2 is fd88::2, and ::ffff:10.0.0.1 is 10.0.0.1.
std::string canonical(const std::string& address) {
  boost::system::error_code wrong;
  const auto parsed = boost::asio::ip::make_address(address, wrong);
  if (wrong) return address;
  if (parsed.is_v6() && parsed.to_v6().is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, parsed.to_v6()).to_string();
  return parsed.to_string();
}

std::vector<std::string> canonical(std::vector<std::string> addresses) {
  for (auto& address : addresses)
    address = canonical(address);
  std::vector<std::string> out;
  for (auto& address : addresses)
    if (std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
  return out;
}

// Every host has an address, and no two share one.
bool addresses_tell_apart(const std::vector<std::string>& names, const std::map<std::string, HostSpec>& hosts,
                          const Value& topology, Diagnostics& diagnostics) {
  const auto before = diagnostics.errors().size();
  std::map<std::string, std::string> owners;
  for (auto& name : names) {
    const auto addresses = peer_addresses(hosts.at(name));
    if (addresses.empty())
      diagnostics.error(topology.place,
                        fmt::format("the addresses by which its peers know the host \"{}\" are not known: "
                                    "add addresses: to it, such as {}: {{addresses: [10.0.0.7]}}",
                                    name, name));
    for (auto& address : addresses)
      if (auto [owner, fresh] = owners.emplace(address, name); !fresh && owner->second != name)
        diagnostics.error(
            topology.place,
            fmt::format(
                "the hosts \"{}\" and \"{}\" have the same address {}: who cannot be heard could not be told",
                owner->second, name, address));
  }
  return diagnostics.errors().size() == before;
}

Value parameters(const Value& with, const std::vector<std::string>& addresses) {
  Value to;
  to.kind = Value::Kind::list;
  for (auto& address : addresses)
    to.items.push_back(Value::scalar(address, true));
  auto out = with;
  std::erase_if(out.members, [](auto& member) { return member.key == "topology"; });
  out.members.push_back({"to", {}, std::move(to)});
  out.members.push_back({"direction", {}, Value::scalar("in")});
  return out;
}

}  // namespace

std::size_t least_hosts(Topology topology) {
  return topology == Topology::majority_ring ? 4 : 2;
}

std::map<std::string, std::vector<std::string>> cannot_hear(Topology topology,
                                                            const std::vector<std::string>& hosts,
                                                            std::uint64_t seed) {
  const auto drawn = draw(hosts, hosts.size(), seed);
  std::map<std::string, std::vector<std::string>> out;
  for (std::size_t a = 0; a < drawn.size(); ++a)
    for (std::size_t b = 0; b < drawn.size(); ++b)
      if (a != b && deaf(topology, a, b, drawn.size())) out[drawn[a]].push_back(drawn[b]);
  for (auto& [host, others] : out)
    std::sort(others.begin(), others.end());
  return out;
}

std::vector<std::string> peer_addresses(const HostSpec& host) {
  if (!host.addresses.empty() || host.link != HostSpec::Link::ssh) return canonical(host.addresses);
  // [ssh://][user@]host[:port], as ssh(1) takes it; an IPv6 address before a port is in brackets.
  std::string_view text = host.address;
  const bool url = text.starts_with("ssh://");
  if (url) text.remove_prefix(6);
  if (const auto at = text.rfind('@'); at != text.npos) text.remove_prefix(at + 1);
  if (text.starts_with('['))
    text = text.substr(1, text.find(']') - 1);
  else if (url)
    text = text.substr(0, text.find(':'));
  if (!address_problem(text).empty()) return {};
  return {canonical(std::string(text))};
}

bool has_topology(const Step& step) {
  return topology_of(step) != nullptr;
}

std::vector<HostPartition> partition(const Step& step, const std::vector<std::string>& hosts,
                                     const std::map<std::string, HostSpec>& specs, std::uint64_t seed,
                                     Diagnostics& diagnostics) {
  const auto* text = topology_of(step);
  Topology topology{};
  if (!text || !Codec<Topology>::decode(*text, topology, diagnostics)) return {};
  if (hosts.size() < least_hosts(topology)) {
    diagnostics.error(text->place,
                      fmt::format("{} needs at least {} hosts{}, step \"{}\" means {}", enum_text(topology),
                                  least_hosts(topology),
                                  topology == Topology::majority_ring
                                      ? " (of fewer, whoever hears a majority on either side hears everybody)"
                                      : "",
                                  step.name, hosts.size()));
    return {};
  }
  if (!addresses_tell_apart(hosts, specs, *text, diagnostics)) return {};
  std::vector<HostPartition> out;
  for (auto& [host, others] : cannot_hear(topology, hosts, seed)) {
    std::vector<std::string> addresses;
    for (auto& other : others)
      for (auto& address : peer_addresses(specs.at(other)))
        addresses.push_back(address);
    out.push_back({host, others, parameters(step.with, addresses)});
  }
  return out;
}

}  // namespace squall
