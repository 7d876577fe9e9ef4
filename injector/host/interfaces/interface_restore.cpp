#include "injector/host/interfaces/interface_restore.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include "injector/host/interfaces/ipv6_mtu.hpp"

namespace squall::links {
namespace {

constexpr std::uint16_t exclusively = NLM_F_CREATE | NLM_F_EXCL, besides = NLM_F_CREATE | NLM_F_APPEND,
                        instead = NLM_F_CREATE | NLM_F_REPLACE;
constexpr unsigned char by_kernel = 2;  // RTPROTO_KERNEL

bool equal(const nlattr* one, const nlattr* other) {
  const auto a = netlink::payload(one), b = netlink::payload(other);
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// What two neighbours of one device have in common that cannot both be there.
bool same_place(const Kept& one, const Kept& other) {
  const auto a = one.header<ndmsg>(), b = other.header<ndmsg>();
  return a.ndm_ifindex == b.ndm_ifindex && (a.ndm_flags & NTF_PROXY) == (b.ndm_flags & NTF_PROXY) &&
         equal(one.find(NDA_DST), other.find(NDA_DST));
}

Kept with_flags(Kept address, std::uint32_t flags) {
  auto header = address.header<ifaddrmsg>();
  header.ifa_flags = static_cast<unsigned char>(flags);
  std::memcpy(address.payload.data(), &header, sizeof header);
  if (const auto* attribute = address.find(IFA_FLAGS))
    std::memcpy(const_cast<nlattr*>(attribute) + 1, &flags, sizeof flags);
  return address;
}

// Whether a group is what is left of another after some of its members went.
bool rest_of(const Kept& group, const Kept& whole) {
  const auto some = netlink::payload(group.find(NHA_GROUP)), all = netlink::payload(whole.find(NHA_GROUP));
  if (some.empty() || all.empty()) return false;
  for (std::size_t i = 0; i + sizeof(nexthop_grp) <= some.size(); i += sizeof(nexthop_grp)) {
    bool member = false;
    for (std::size_t j = 0; j + sizeof(nexthop_grp) <= all.size(); j += sizeof(nexthop_grp))
      member |= std::memcmp(&some[i], &all[j], sizeof(nexthop_grp)) == 0;
    if (!member) return false;
  }
  return true;
}

class BringBack {
 public:
  BringBack(const InterfaceState& state, bool patient)
      : state_(state),
        until_(std::chrono::steady_clock::now() + std::chrono::milliseconds{patient ? 400 : 0}) {}

  BroughtBack all() {
    // Where it is gone, all of it went with it; a new one of that name is none of ours.
    const auto now = find_again(state_.link);
    if (!state_.link.up || !now) return {};
    put_up(*now);
    for (auto& link : links::all())
      there_.insert(link.index);
    add_addresses();
    now_ = read_state(now->name).value_or(InterfaceState{}).tables;
    for (auto& one : now_.routes)
      routes_now_.insert(one.payload);
    for (auto& one : state_.tables.nexthops)
      add_nexthop(one);
    add_routes();
    make_ordinary();
    for (auto& one : state_.tables.neighbours)
      add_neighbour(one);
    put_back_ipv6();
    return std::move(out_);
  }

 private:
  // With the device the kernel puts up all VLANs that are bound to it, also those that were down
  // (vlan_device_event): so these are not bound to it at that moment.
  void put_up(const Link& device) {
    const auto uppers = [&](const auto& act) {
      for (auto& upper : state_.uppers)
        if (const auto now = find_again(upper.link); upper.goes_down && now) act(upper.link, *now);
    };
    uppers([](auto& before, auto& now) {
      if (!before.up && now.kind == "vlan" && !now.loose) set_loose(now.index, true);
    });
    if (!device.up) {
      set_up(device.index, true);
      out_.changed = true;
    }
    uppers([&](auto& before, auto& now) {
      if (now.loose) set_loose(now.index, false);
      if (now.up == before.up) return;
      set_up(now.index, before.up);
      out_.changed = true;
    });
  }

  // Coming up, or having a carrier again, the device takes its own MTU for that of IPv6: only then it can be
  // set.
  void put_back_ipv6() {
    put_back_ipv6(state_.link);
    for (auto& upper : state_.uppers)
      if (upper.goes_down) put_back_ipv6(upper.link);
  }

  void put_back_ipv6(const Link& before) {
    if (!before.up || !before.ipv6_mtu || before.ipv6_mtu == before.mtu) return;
    const std::array made{before.mtu};
    constexpr int settled = 3;  // looks
    for (int looks = 0;; std::this_thread::sleep_for(std::chrono::milliseconds{10})) {
      const auto now = find_again(before);
      if (!now || (looks += now->running) >= settled || now->ipv6_mtu == now->mtu ||
          std::chrono::steady_clock::now() >= until_)
        break;
    }
    out_.changed |= put_back_ipv6_mtu(before, made);
    out_.changed |= put_back_mtus(routes_with_mtu(state_.tables.routes), made);
  }

  // True where it is there now. What was on a device that is there no more went with that.
  bool done(const Kept& thing, const netlink::Answer& answer) {
    out_.changed |= static_cast<bool>(answer);
    if (answer || answer.error == ENODEV) return true;
    out_.absent.push_back({thing, answer.error == EEXIST,
                           answer.error == EEXIST ? "there is another one in its place" : answer.text()});
    return false;
  }

  // The kernel takes an address for a route's source only when it is sure that nobody else has it, which
  // takes it a second or two: such a one is added as one that is sure, as it was, and becomes an ordinary one
  // when the routes are there.
  void add_addresses() {
    // The kernel puts each before the others, and asks the first ones first for a source address.
    for (auto one = state_.tables.addresses.rbegin(); one != state_.tables.addresses.rend(); ++one) {
      const auto flags = one->number(IFA_FLAGS);
      const bool hurry = is_source(*one) && !(flags & IFA_F_NODAD);
      if (hurry) hurried_.push_back(*one);
      const auto answer = make(route_, hurry ? with_flags(*one, flags | IFA_F_NODAD) : *one, exclusively);
      if (answer.error != EEXIST) done(*one, answer);
    }
  }

  void make_ordinary() {
    for (auto& address : hurried_)
      for (auto& now : now_.addresses)
        if (now.header<ifaddrmsg>().ifa_index == address.header<ifaddrmsg>().ifa_index &&
            equal(now.find(IFA_ADDRESS), address.find(IFA_ADDRESS)) && now.number(IFA_FLAGS) & IFA_F_NODAD)
          done(address, make(route_, address, instead));
  }

  bool is_source(const Kept& address) const {
    return std::any_of(state_.tables.routes.begin(), state_.tables.routes.end(), [&](auto& route) {
      return route.find(RTA_PREFSRC) && equal(route.find(RTA_PREFSRC), address.find(IFA_ADDRESS));
    });
  }

  void add_nexthop(const Kept& nexthop) {
    if (const auto on = nexthop.number(NHA_OIF); on && !there_.contains(on)) {
      gone_.insert(nexthop.number(NHA_ID));
      return;
    }
    auto answer = make(route_, nexthop, exclusively);
    for (; answer.error == ENETDOWN && std::chrono::steady_clock::now() < until_;
         answer = make(route_, nexthop, exclusively))
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    if (answer.error == EEXIST) {
      const auto now = read_nexthop(route_, nexthop.number(NHA_ID));
      if (now && now->same(nexthop)) return;
      if (now && rest_of(*now, nexthop)) answer = make(route_, nexthop, instead);
    }
    done(nexthop, answer);
  }

  void add_routes() {
    std::vector<std::pair<Kept, netlink::Answer>> left;
    for (auto& route : state_.tables.routes) {
      const bool over = route.until && route.until <= boottime_ns();
      if (!over && !gone_.contains(route.number(RTA_NH_ID)) && !routes_now_.contains(route.payload))
        left.emplace_back(route, netlink::Answer{});
    }
    // A gateway has to be reachable by a route that may come later.
    for (bool more = true; std::exchange(more, false) && !left.empty();)
      std::erase_if(left, [&](auto& one) {
        one.second = add_route(one.first);
        const bool added = one.second || one.second.error == ENODEV;
        out_.changed |= added;
        more |= added;
        return added;
      });
    for (auto& [route, answer] : left)
      done(route, answer);
  }

  netlink::Answer add_route(const Kept& route) {
    auto answer = make(route_, route, route.shares_key ? besides : exclusively);
    // Besides others it was there already. What comes and goes by itself, the kernel or a router has made
    // again.
    if (answer.error == EEXIST &&
        (route.shares_key || route.until || route.header<rtmsg>().rtm_protocol == by_kernel))
      answer = {};
    return answer;
  }

  void add_neighbour(const Kept& neighbour) {
    const auto now = std::find_if(now_.neighbours.begin(), now_.neighbours.end(),
                                  [&](auto& one) { return same_place(one, neighbour); });
    const bool there = now != now_.neighbours.end();
    if (there && now->same(neighbour)) return;
    auto answer = make(route_, neighbour, exclusively);
    // The kernel has begun to ask for it by itself.
    if (answer.error == EEXIST && !there) answer = make(route_, neighbour, instead);
    done(neighbour, answer);
  }

  const InterfaceState& state_;
  std::chrono::steady_clock::time_point until_;
  netlink::Socket route_{NETLINK_ROUTE};
  std::set<std::uint32_t> there_, gone_;  // devices; nexthops whose device is not there
  std::vector<Kept> hurried_;
  std::set<std::vector<char>> routes_now_;
  Tables now_;
  BroughtBack out_;
};

}  // namespace

BroughtBack bring_back(const InterfaceState& state, bool patient) {
  return BringBack{state, patient}.all();
}

}  // namespace squall::links
