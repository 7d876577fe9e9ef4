#include "injector/host/cgroups/value.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall::cgroup {
namespace {

bool has(const std::string& list, char separator, const std::string& word) {
  return (separator + list + separator).find(separator + word + separator) != std::string::npos;
}

}  // namespace

tl::expected<Hierarchy, std::string> hierarchy_with(const std::string& controller) {
  std::optional<Hierarchy> v1;
  for (auto& mount : read_mounts()) {
    if (mount.type == "cgroup2" &&
        has(std::string(trimmed(read_file(mount.point + "/cgroup.controllers").value_or(""))), ' ',
            controller))
      return Hierarchy{Version::v2, mount.point, mount.root, controller};
    if (mount.type == "cgroup" && has(mount.super_options, ',', controller))
      v1 = Hierarchy{Version::v1, mount.point, mount.root, controller};
  }
  if (v1) return *v1;
  return tl::unexpected(
      fmt::format("no cgroup hierarchy with the {} controller is mounted here", controller));
}

std::vector<Group> groups_of(const Hierarchy& hierarchy, const std::vector<Process>& processes) {
  std::vector<Group> out;
  for (auto& process : processes) {
    const auto group = group_of(hierarchy, process.pid);
    if (!group)
      throw std::runtime_error(
          fmt::format("{} is in no cgroup that is seen in {}", process.to_string(), hierarchy.point));
    if (group->is_root())
      throw std::runtime_error(
          fmt::format("{} is in the root cgroup of {}, which has no limits: run it in a cgroup of its own, "
                      "as systemd does",
                      process.to_string(), hierarchy.point));
    if (std::find(out.begin(), out.end(), *group) == out.end()) out.push_back(*group);
  }
  return out;
}

void set_value(Transaction& transaction, const Group& group, const std::string& file,
               const std::string& value, const std::string& reads_back) {
  const auto path = group.folder + "/" + file;
  const auto before = read_file(path);
  if (!before) throw std::runtime_error(fmt::format("{} cannot be read", path));
  Change change;
  change.what = fmt::format("write {} to {}", value, path);
  change.inverse = Inverse{"cgroup.value",
                           {{"folder", group.folder},
                            {"identity", identity(group.folder)},
                            {"file", file},
                            {"before", trimmed(*before)},
                            {"ours", reads_back}}};
  change.act = [path, value, what = change.what] { write_file(path, value, what); };
  transaction.add(std::move(change));
}

}  // namespace squall::cgroup

namespace squall::undo {
namespace {

std::string text(const boost::json::object& with, std::string_view key) {
  return std::string(with.at(key).as_string());
}

std::string describe(const boost::json::object& with) {
  return fmt::format("write {} to {}/{} again", text(with, "before"), text(with, "folder"),
                     text(with, "file"));
}

Undone carry_out(const boost::json::object& with) {
  const auto folder =
      cgroup::find_again(text(with, "folder"), with.at("identity").to_number<std::uint64_t>());
  if (folder.empty()) return {UndoOutcome::already};  // the cgroup is gone, and what was set in it too
  const auto path = folder + "/" + text(with, "file"), before = text(with, "before");
  const auto by_hand = fmt::format("echo {} > {}", before, path);
  const auto now = read_file(path);
  if (!now) return {UndoOutcome::failed, fmt::format("{} cannot be read", path), by_hand};
  const std::string value(trimmed(*now));
  if (value == before) return {UndoOutcome::already};
  if (value != text(with, "ours"))
    return {UndoOutcome::conflict,
            fmt::format("{} is {} by now, which is neither our value nor the one before, {}: left alone",
                        path, value, before),
            by_hand};
  try {
    write_file(path, before, describe(with));
  } catch (const std::exception& e) {
    return {UndoOutcome::failed, e.what(), by_hand};
  }
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb cgroup_value;
const UndoVerb cgroup_value{"cgroup.value", describe, carry_out, {"cgroup"}};

}  // namespace squall::undo
