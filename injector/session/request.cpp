#include "injector/session/request.hpp"

#include <charconv>

#include <net/if.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall {
namespace {

namespace json = boost::json;

// The errors of a request in one text; there is no file to point into.
std::string told(const Diagnostics& wrong) {
  std::string out;
  for (auto& one : wrong.errors())
    out += (out.empty() ? "" : "; ") + one.message;
  return out;
}

Value value_at(const json::object& request, const char* key) {
  auto* member = request.if_contains(key);
  return member && !member->is_null() ? from_json(*member) : Value::map();
}

TargetSpec aimed(const json::object& request, const FaultType& type, Diagnostics& wrong) {
  const auto aim = value_at(request, "on");
  TargetSpec target;
  Describe<TargetSpec>::object().decode(aim, target, wrong);
  for (auto& member : aim.members)
    if (wrong.ok() && std::find(type.aims.begin(), type.aims.end(), member.key) == type.aims.end())
      wrong.error(member.place, fmt::format("{} cannot be aimed with \"{}\", only with {}", type.name,
                                            member.key, fmt::join(type.aims, ", ")));
  return target;
}

// What is aimed at is not there now, however right it is written, and that is what is wrong: a process, an
// interface, a path.
bool is_absent(const TargetSpec& target, const std::string& wrong) {
  if (!wrong.starts_with("no ") && wrong.find("No such file") == wrong.npos) return false;
  if (target.selects_processes()) {
    const auto processes = find_processes(target);
    return !processes || processes->empty();
  }
  if (target.interface && *target.interface != "any") return ::if_nametoindex(target.interface->c_str()) == 0;
  const auto& place = target.path ? target.path : target.device;
  return place && place->starts_with('/') && ::access(place->c_str(), F_OK) != 0;
}

// Before the fault looks for anything: whoever the target selects is refused as a whole where one of them is
// protected.
void check_target(const json::object& request, const FaultType& type, const TargetSpec& target,
                  const Policy& policy) {
  auto rule = policy.refuses(type, target, number_of(request, "for_ns", 0));
  if (rule.empty() && target.selects_processes()) {
    const auto processes = find_processes(target);
    if (!processes) throw Refused{"absent", processes.error()};
    rule = policy.refuses(*processes);
    TargetSpec port;
    port.listens_on = target.listens_on;
    if (rule.empty() && target.listens_on && port.to_string() == target.to_string())
      policy.know_listeners(*target.listens_on, *processes);
  }
  if (!rule.empty()) throw Refused{"refused", rule};
}

}  // namespace

std::string text_of(const json::object& object, std::string_view key, const std::string& otherwise) {
  auto* member = object.if_contains(key);
  if (!member) return otherwise;
  if (!member->is_string()) throw Refused{"input", fmt::format("expected \"{}\" to be a text", key)};
  return std::string(member->get_string());
}

std::int64_t number_of(const json::object& object, std::string_view key, std::int64_t otherwise) {
  auto* member = object.if_contains(key);
  if (!member) return otherwise;
  json::error_code error;
  const auto value = member->is_number() ? member->to_number<std::int64_t>(error) : -1;
  if (error || value < 0)
    throw Refused{"input", fmt::format("expected \"{}\" to be a whole number of at least 0", key)};
  return value;
}

std::uint64_t seed_of(const json::object& object) {
  auto* member = object.if_contains("seed");
  if (!member) return 1;
  std::uint64_t seed = 0;
  json::error_code error;
  bool ok = false;
  if (member->is_string()) {
    const auto& text = member->get_string();
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), seed);
    ok = wrong == std::errc{} && end == text.data() + text.size();
  } else if (member->is_number()) {
    seed = member->to_number<std::uint64_t>(error);
    ok = !error;
  }
  if (!ok) throw Refused{"input", "expected \"seed\" to be a whole number of 64 bits"};
  return seed;
}

TargetSpec target_of(const json::object& request) {
  TargetSpec target;
  Diagnostics wrong{"on"};
  Describe<TargetSpec>::object().decode(value_at(request, "on"), target, wrong);
  if (!wrong.ok()) throw Refused{"input", told(wrong)};
  return target;
}

PreparedFault prepare_fault(const json::object& request, const Policy& policy, const std::string& session,
                            boost::asio::io_context* io) {
  const auto name = text_of(request, "fault");
  PreparedFault out{find_fault(name), {}, nullptr};
  if (!out.type) throw Refused{"input", fmt::format("unknown fault \"{}\"", name)};
  Diagnostics wrong{name};
  out.target = aimed(request, *out.type, wrong);
  const auto parameters = value_at(request, "with");
  out.type->parameters->check(parameters, wrong);
  if (wrong.ok()) {
    check_target(request, *out.type, out.target, policy);
    Setting setting{io, session, text_of(request, "step", name), seed_of(request)};
    setting.permits = [&policy](const Process& process) { return policy.refuses({process}).empty(); };
    out.fault = out.type->prepare(parameters, out.target, setting, wrong);
  }
  if (!wrong.ok() || !out.fault)
    throw Refused{is_absent(out.target, told(wrong)) ? "absent" : "input", told(wrong)};
  ask_policy(policy, out, number_of(request, "for_ns", 0));
  return out;
}

void ask_policy(const Policy& policy, const PreparedFault& prepared, std::int64_t for_ns) {
  auto rule = policy.refuses(*prepared.type, prepared.target, for_ns);
  if (rule.empty()) rule = policy.refuses(prepared.fault->reach());
  if (!rule.empty()) throw Refused{"refused", rule};
}

json::array json_texts(const std::vector<std::string>& list) {
  json::array out;
  for (auto& text : list)
    out.emplace_back(text);
  return out;
}

}  // namespace squall
