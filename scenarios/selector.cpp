#include "scenarios/selector.hpp"

#include <regex>

namespace squall {
namespace {

void check_regex(const std::optional<std::string>& text, const Value& in, const char* key, Diagnostics& diagnostics) {
  if (!text) return;
  try {
    std::regex{*text, std::regex::ECMAScript};
  } catch (const std::regex_error& e) {
    diagnostics.error(in.find(key)->place, fmt::format("expected a regular expression, got \"{}\": {}", *text, e.what()));
  }
}

}  // namespace

bool TargetSpec::selects_processes() const {
  return exe || command || listens_on || pid || pidfile || unit || cgroup || container || user;
}

bool TargetSpec::empty() const { return !selects_processes() && !interface && !path && !device; }

std::string TargetSpec::to_string() const {
  std::string out;
  auto add = [&](const char* key, const auto& member) {
    if (member) out += fmt::format("{}{}={}", out.empty() ? "" : ", ", key, *member);
  };
  add("interface", interface), add("path", path), add("device", device), add("exe", exe), add("command", command);
  add("listens_on", listens_on), add("pid", pid), add("pidfile", pidfile), add("unit", unit), add("cgroup", cgroup);
  add("container", container), add("user", user);
  return out;
}

const Object<TargetSpec>& Describe<TargetSpec>::object() {
  static const auto schema =
      Object<TargetSpec>{"what a fault is aimed at on one host"}
          .optional("interface", &TargetSpec::interface, "a network device, such as eth0 or lo")
          .optional("path", &TargetSpec::path, "the file system that this path lies on")
          .optional("device", &TargetSpec::device, "a block device: /dev/sdb, sdb or 8:16")
          .optional("exe", &TargetSpec::exe, "processes by their executable: its path, or its base name")
          .optional("command", &TargetSpec::command, "processes by a regular expression on their command line")
          .optional("listens_on", &TargetSpec::listens_on, "the processes that listen on this TCP or UDP port")
          .optional("pid", &TargetSpec::pid, "one process")
          .optional("pidfile", &TargetSpec::pidfile, "the process whose pid stands in the first line of this file")
          .optional("unit", &TargetSpec::unit, "the processes of a systemd unit")
          .optional("cgroup", &TargetSpec::cgroup, "the processes of a cgroup, named from its hierarchy's root")
          .optional("container", &TargetSpec::container, "the processes of a container, by its id or name")
          .optional("user", &TargetSpec::user, "the processes of a user, by name or uid")
          .rule([](const TargetSpec& target, const Value& in, Diagnostics& diagnostics) {
            check_regex(target.command, in, "command", diagnostics);
          });
  return schema;
}

const Object<Selector>& Describe<Selector>::object() {
  static const auto schema = [] {
    Object<Selector> object{"the hosts a fault picks, and what it is aimed at there"};
    object.optional("host", &Selector::host, "one host of the landscape")
        .optional("service", &Selector::service, "the hosts of a service, and its processes unless another target is given")
        .optional("labels", &Selector::labels, "the hosts that carry all these labels")
        .optional("pick", &Selector::pick, "so many of the matching hosts, chosen by the seed")
        .between(&Selector::pick, std::int64_t{1}, std::int64_t{100'000})
        .optional("share", &Selector::share, "such a share of the matching hosts, chosen by the seed");
    const auto target_schema = Describe<TargetSpec>::object().json_schema();
    for (auto& [key, value] : target_schema.at("properties").as_object()) object.describe_key(std::string(key), value);
    object.rest([](const Value& in, Selector& out, Diagnostics& diagnostics) {
      Value target = Value::map();
      target.place = in.place;
      for (auto& field : Describe<TargetSpec>::object().fields())
        for (auto& member : in.members)
          if (member.key == field.name) target.members.push_back(member);
      return Describe<TargetSpec>::object().decode(target, out.target, diagnostics);
    });
    object.rule([](const Selector& on, const Value& in, Diagnostics& diagnostics) {
      if (on.pick && on.share) diagnostics.error(in.find("share")->place, "expected either pick or share, got both");
    });
    return object;
  }();
  return schema;
}

}  // namespace squall
