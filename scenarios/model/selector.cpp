#include "scenarios/model/selector.hpp"

#include "scenarios/text/text.hpp"

namespace squall {
namespace {

Object<TargetSpec> process_keys() {
  return Object<TargetSpec>("processes of a host; all the keys given must apply")
      .optional("exe", &TargetSpec::exe, "the executable's path, or its base name")
      .optional("command", &TargetSpec::command, "regular expression (ECMAScript) on the command line")
      .optional("listens_on", &TargetSpec::listens_on, "a TCP or UDP port the process listens on")
      .between(&TargetSpec::listens_on, std::uint16_t{1}, std::uint16_t{65535})
      .optional("pid", &TargetSpec::pid, "a process id")
      .between(&TargetSpec::pid, 1, 1 << 22)
      .optional("pidfile", &TargetSpec::pidfile, "a file whose first line is a process id")
      .optional("unit", &TargetSpec::unit, "a systemd unit")
      .optional("cgroup", &TargetSpec::cgroup, "a cgroup, relative to its hierarchy's root")
      .optional("container", &TargetSpec::container, "a container's id or name")
      .optional("user", &TargetSpec::user, "a user's name or uid")
      .rule([](const TargetSpec& target, const Value& value, Diagnostics& diagnostics) {
        auto* command = value.find("command");
        if (!target.command || !command) return;
        if (auto problem = regex_problem(*target.command); !problem.empty())
          diagnostics.error(command->place, problem);
      });
}

}  // namespace

bool TargetSpec::selects_processes() const {
  return exe || command || listens_on || pid || pidfile || unit || cgroup || container || user;
}

bool TargetSpec::empty() const {
  return !selects_processes() && !interface && !path && !device;
}

std::string TargetSpec::to_string() const {
  std::string out;
  auto add = [&](std::string_view key, const auto& value) {
    if (value) out += fmt::format("{}{}={}", out.empty() ? "" : ", ", key, *value);
  };
  add("interface", interface);
  add("path", path);
  add("device", device);
  add("exe", exe);
  add("command", command);
  add("listens_on", listens_on);
  add("pid", pid);
  add("pidfile", pidfile);
  add("unit", unit);
  add("cgroup", cgroup);
  add("container", container);
  add("user", user);
  return out;
}

const Object<TargetSpec>& process_target() {
  static const auto object =
      process_keys().rule([](const TargetSpec& target, const Value& value, Diagnostics& diagnostics) {
        if (!target.selects_processes())
          diagnostics.error(value.place,
                            "expected a key that selects processes, such as unit, exe or listens_on");
      });
  return object;
}

const Object<TargetSpec>& Describe<TargetSpec>::object() {
  static const auto object =
      process_keys()
          .optional("interface", &TargetSpec::interface, "network: a device name, or any for all of them")
          .optional("path", &TargetSpec::path, "disk: the file system this path lies on")
          .optional("device", &TargetSpec::device, "disk: /dev/sdb, sdb or 8:16");
  return object;
}

const Object<Selector>& Describe<Selector>::object() {
  static const auto object =
      Object<Selector>("the hosts a fault is done to, and what it is aimed at there")
          .optional("host", &Selector::host, "one host of the landscape")
          .optional("service", &Selector::service, "the hosts a service runs on, and its processes there")
          .optional("labels", &Selector::labels, "the hosts that carry all these labels")
          .optional("pick", &Selector::pick, "so many of the matching hosts, chosen by the seed")
          .between(&Selector::pick, std::int64_t{1}, std::int64_t{1'000'000})
          .optional("share", &Selector::share, "such a share of the matching hosts, chosen by the seed")
          .between(&Selector::share, Percent{0.001}, Percent{100})
          .including(&Selector::target)
          .rule([](const Selector& on, const Value& value, Diagnostics& diagnostics) {
            if (on.pick && on.share)
              diagnostics.error(value.find("share")->place, "expected either pick or share, got both");
          });
  return object;
}

}  // namespace squall
