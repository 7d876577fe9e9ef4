// Puts a device, and what stands on it, back as it was, from the journal alone.
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/change/records.hpp"
#include "injector/host/interfaces/interface_restore.hpp"
#include "injector/host/interfaces/ip_commands.hpp"
#include "injector/host/interfaces/ipv6_mtu.hpp"

namespace squall {
namespace links {
namespace {

namespace json = boost::json;

json::object of_link(const Link& link) {
  return {{"name", link.name},
          {"index", link.index},
          {"up", link.up},
          {"mtu", link.mtu},
          {"ipv6_mtu", link.ipv6_mtu}};
}

json::object record(const InterfaceState& state, std::uint64_t network_namespace, pid_t in) {
  auto out = of_link(state.link);
  out["netns"] = network_namespace;
  out["pid"] = in;
  return out;
}

// Those in the order of the kernel's tables that are added one after the other.
auto lists(auto& tables) {
  return std::array{std::pair{"addresses", &tables.addresses}, std::pair{"nexthops", &tables.nexthops},
                    std::pair{"routes", &tables.routes}, std::pair{"neighbours", &tables.neighbours}};
}

}  // namespace

Inverse up_again(const InterfaceState& state, std::uint64_t network_namespace, pid_t in) {
  auto with = record(state, network_namespace, in);
  for (auto [key, list] : lists(state.tables)) {
    json::array all;
    for (auto& one : *list)
      all.emplace_back(to_json(one));
    with[key] = std::move(all);
  }
  json::array uppers;
  for (auto& upper : state.uppers)
    if (upper.goes_down) uppers.emplace_back(of_link(upper.link));
  with["uppers"] = std::move(uppers);
  return {"interface.up", std::move(with)};
}

Inverse mtu_again(const InterfaceState& state, std::uint32_t ours, std::uint64_t network_namespace,
                  pid_t in) {
  auto with = record(state, network_namespace, in);
  with["ours"] = ours;
  json::array uppers;
  for (auto& upper : state.uppers)
    if (upper.shrinks && upper.link.mtu != ours) uppers.emplace_back(of_link(upper.link));
  with["uppers"] = std::move(uppers);
  json::array routes;
  for (auto& route : routes_with_mtu(state.tables.routes))
    routes.emplace_back(to_json(route));
  with["routes"] = std::move(routes);
  return {"interface.mtu", std::move(with)};
}

}  // namespace links

namespace undo {
namespace {

namespace json = boost::json;

json::array list_of(const json::object& with, const char* key) {
  auto* list = with.if_contains(key);
  return list && list->is_array() ? list->get_array() : json::array{};
}

links::Link link_from(const json::object& with) {
  links::Link out;
  out.name = text_of(with, "name");
  out.index = static_cast<std::uint32_t>(number_of(with, "index"));
  out.mtu = static_cast<std::uint32_t>(number_of(with, "mtu"));
  out.ipv6_mtu = static_cast<std::uint32_t>(number_of(with, "ipv6_mtu"));
  auto* up = with.if_contains("up");
  out.up = up && up->is_bool() && up->get_bool();
  return out;
}

// The device, where it is still the same one, also by another name.
std::optional<links::Link> same(const json::object& with) {
  return links::find_again(link_from(with));
}

std::string describe_up(const json::object& with) {
  auto out = fmt::format("put {} up again, with its {} IPv6 addresses, {} routes and {} permanent neighbours",
                         text_of(with, "name"), list_of(with, "addresses").size(),
                         list_of(with, "routes").size(), list_of(with, "neighbours").size());
  if (const auto nexthops = list_of(with, "nexthops").size())
    out += fmt::format(", {} nexthop objects", nexthops);
  if (const auto uppers = list_of(with, "uppers").size())
    out += fmt::format(", and {} devices on it as they were", uppers);
  return out;
}

links::InterfaceState state_from(const json::object& with) {
  links::InterfaceState out;
  out.link = link_from(with);
  for (auto& upper : list_of(with, "uppers"))
    if (upper.is_object()) out.uppers.push_back({.link = link_from(upper.get_object()), .goes_down = true});
  for (auto [key, list] : links::lists(out.tables))
    for (auto& one : list_of(with, key))
      if (one.is_object()) list->push_back(links::kept_from(one.get_object()));
  return out;
}

Undone bring_up(const json::object& with) {
  if (!same(with)) return {UndoOutcome::already, "", ""};  // all of it went with the device
  const auto state = state_from(with);
  const auto back = links::bring_back(state, true);
  if (back.absent.empty()) return {back.changed ? UndoOutcome::undone : UndoOutcome::already, "", ""};
  const bool conflicts =
      std::all_of(back.absent.begin(), back.absent.end(), [](auto& one) { return one.conflict; });
  std::vector<std::string> commands;
  for (auto& one : back.absent)
    commands.push_back(links::ip_command(one.thing, one.conflict ? "replace" : "add"));
  return {conflicts ? UndoOutcome::conflict : UndoOutcome::failed,
          fmt::format(
              "{} is up, but {} of its addresses, nexthops, routes and neighbours are not as they were: {}",
              state.link.name, commands.size(), back.absent.front().why),
          fmt::format("{}", fmt::join(commands, "; "))};
}

std::string describe_mtu(const json::object& with) {
  auto out = fmt::format("set the MTU of {} to {} again", text_of(with, "name"), number_of(with, "mtu"));
  if (const auto ipv6 = number_of(with, "ipv6_mtu"); ipv6 && ipv6 != number_of(with, "mtu"))
    out += fmt::format(" (of IPv6: {})", ipv6);
  for (auto& upper : list_of(with, "uppers"))
    if (upper.is_object())
      out += fmt::format(", of {} to {}", text_of(upper.get_object(), "name"),
                         number_of(upper.get_object(), "mtu"));
  return out;
}

// With that of IPv6 on it: what somebody has set since, a router for one, is put back too.
void set_both_mtus(const links::Link& now, const links::Link& as_it_was, std::uint32_t ours) {
  auto wanted = as_it_was;
  if (now.ipv6_mtu != ours) wanted.ipv6_mtu = now.ipv6_mtu;
  links::set_mtu(now.index, as_it_was.mtu);
  links::put_back_ipv6_mtu(wanted, std::array{as_it_was.mtu});
}

// The lower one first: none may exceed it.
Undone set_mtus(const json::object& with) {
  std::vector<json::object> devices{with};
  for (auto& upper : list_of(with, "uppers"))
    if (upper.is_object()) devices.push_back(upper.get_object());
  Undone out{UndoOutcome::already, "", ""};
  bool stuck = false;  // the lowest one is somebody else's now
  for (auto& device : devices) {
    const auto link = same(device);
    const auto before = link_from(device);
    const auto mtu = before.mtu;
    if (!link) continue;
    if (link->mtu == mtu) {  // we died before the rest of it
      if (links::put_back_ipv6_mtu(before, std::array{mtu}) && out.outcome == UndoOutcome::already)
        out.outcome = UndoOutcome::undone;
      continue;
    }
    const bool is_ours = link->mtu == number_of(with, "ours");
    if (is_ours && !stuck) {
      set_both_mtus(*link, before, link->mtu);
      if (out.outcome == UndoOutcome::already) out.outcome = UndoOutcome::undone;
      continue;
    }
    out.detail += fmt::format(
        "{}the MTU of {} is {}, which is {}", out.detail.empty() ? "" : "; ", link->name, link->mtu,
        is_ours ? "still ours, as the device below is not as it was" : "neither ours nor the one before");
    out.by_hand += fmt::format("{}ip link set {} mtu {}", out.by_hand.empty() ? "" : "; ", link->name, mtu);
    out.outcome = UndoOutcome::conflict;
    stuck |= &device == devices.data();
  }
  std::vector<links::Kept> routes;
  for (auto& one : list_of(with, "routes"))
    if (one.is_object()) routes.push_back(links::kept_from(one.get_object()));
  const std::array made{static_cast<std::uint32_t>(number_of(with, "ours")),
                        static_cast<std::uint32_t>(number_of(with, "mtu"))};
  if (!stuck && links::put_back_mtus(routes, made) && out.outcome == UndoOutcome::already)
    out.outcome = UndoOutcome::undone;
  return out;
}

Undone carry_out_up(const json::object& with) {
  return in_namespace_of(with, bring_up);
}
Undone carry_out_mtu(const json::object& with) {
  return in_namespace_of(with, set_mtus);
}

}  // namespace

extern const UndoVerb interface_up, interface_mtu;
const UndoVerb interface_up{"interface.up",
                            describe_up,
                            carry_out_up,
                            {"link", "address", "route", "nexthop", "proxy"},
                            {"net/ipv6/conf/*/mtu"}};
const UndoVerb interface_mtu{
    "interface.mtu", describe_mtu, carry_out_mtu, {"link", "route"}, {"net/ipv6/conf/*/mtu"}};

}  // namespace undo
}  // namespace squall
