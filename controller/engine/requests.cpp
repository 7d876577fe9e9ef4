#include "controller/engine/requests.hpp"

namespace squall {

namespace json = boost::json;

json::object target_json(const TargetSpec& target) {
  json::object out;
  auto set = [&](const char* key, const auto& member) {
    if constexpr (std::is_same_v<std::decay_t<decltype(member)>, std::optional<std::string>>) {
      if (member) out[key] = *member;
    } else if (member) {
      out[key] = std::to_string(*member);
    }
  };
  set("interface", target.interface), set("path", target.path), set("device", target.device),
      set("exe", target.exe);
  set("command", target.command), set("listens_on", target.listens_on), set("pid", target.pid);
  set("pidfile", target.pidfile), set("unit", target.unit), set("cgroup", target.cgroup);
  set("container", target.container), set("user", target.user);
  return out;
}

json::object fault_request(std::string_view verb, const PlannedFault& fault) {
  return {{"do", verb},
          {"step", fault.step->name},
          {"fault", fault.step->fault},
          {"on", target_json(fault.target)},
          {"with", fault.with.kind == Value::Kind::map ? to_json(fault.with) : json::object{}},
          {"for_ns", lasting(*fault.step).count()},
          {"seed", std::to_string(fault.seed)}};
}

json::array told_targets(const PlannedFault& fault, const json::object& told) {
  json::array out;
  if (const auto deafness = fault.deafness(); !deafness.empty()) out.emplace_back(deafness);
  if (auto* targets = told.if_contains("targets"); targets && targets->is_array())
    out.insert(out.end(), targets->get_array().begin(), targets->get_array().end());
  return out;
}

std::vector<std::string> claims_of(const boost::json::object& told) {
  std::vector<std::string> out;
  auto* claims = told.if_contains("claims");
  if (!claims || !claims->is_array()) return out;
  for (auto& claim : claims->get_array())
    if (claim.is_string()) out.emplace_back(claim.get_string());
  return out;
}

}  // namespace squall
