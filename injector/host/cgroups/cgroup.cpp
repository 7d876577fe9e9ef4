#include "injector/host/cgroups/cgroup.hpp"

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "injector/system/mounts.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::cgroup {
namespace {

std::vector<std::string_view> words(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    auto end = std::min(text.find(separator), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool has_word(std::string_view text, char separator, std::string_view word) {
  auto all = words(text, separator);
  return std::find(all.begin(), all.end(), word) != all.end();
}

bool holds(const std::string& file, std::string_view word) {
  auto text = read_file(file);
  return text && has_word(trimmed(*text), ' ', word);
}

bool fits(const Mount& mount, Version version) {
  if (version == Version::v2)
    return mount.type == "cgroup2" && holds(mount.point + "/cgroup.controllers", "io");
  return mount.type == "cgroup" && has_word(mount.super_options, ',', "blkio");
}

}  // namespace

tl::expected<Hierarchy, std::string> io_hierarchy(Version version) {
  for (auto& mount : read_mounts())
    if (fits(mount, version)) return Hierarchy{version, mount.point, mount.root};
  return tl::unexpected<std::string>(
      version == Version::v2 ? "no cgroup v2 hierarchy with the io controller is mounted here (boot with "
                               "systemd.unified_cgroup_hierarchy=1, or enable CONFIG_BLK_CGROUP)"
                             : "no cgroup v1 hierarchy with the blkio controller is mounted here");
}

tl::expected<Hierarchy, std::string> io_hierarchy() {
  auto mounts = read_mounts();
  for (auto version : {Version::v2, Version::v1})
    for (auto& mount : mounts)
      if (fits(mount, version)) return Hierarchy{version, mount.point, mount.root};
  return tl::unexpected<std::string>(
      "neither a cgroup v2 hierarchy with the io controller nor a v1 one with blkio is mounted here");
}

tl::expected<Hierarchy, std::string> net_cls_hierarchy() {
  constexpr std::array harmless{"rw",      "clone_children", "xattr",     "noprefix",
                                "net_cls", "net_prio",       "perf_event"};
  for (auto& mount : read_mounts()) {
    if (mount.type != "cgroup" || !has_word(mount.super_options, ',', "net_cls")) continue;
    for (auto word : words(mount.super_options, ','))
      if (std::find(harmless.begin(), harmless.end(), word) == harmless.end() &&
          !word.starts_with("release_agent="))
        return tl::unexpected(fmt::format(
            "net_cls is mounted together with {}, which a move there would change as well", word));
    return Hierarchy{Version::v1, mount.point, mount.root, "net_cls"};
  }
  std::ifstream controllers{"/proc/cgroups"};
  for (std::string line; std::getline(controllers, line);)
    if (line.starts_with("net_cls\t"))
      return tl::unexpected<std::string>(
          "net_cls is not mounted (mkdir /run/net_cls && mount -t cgroup -o net_cls net_cls /run/net_cls)");
  return tl::unexpected<std::string>("this kernel has no net_cls (CONFIG_CGROUP_NET_CLASSID)");
}

std::optional<Group> group_of(const Hierarchy& hierarchy, std::string_view proc_cgroup) {
  for (auto line : words(proc_cgroup, '\n')) {
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    auto controllers = line.substr(first + 1, second - first - 1);
    auto path = std::string(line.substr(second + 1));
    if (hierarchy.version == Version::v2 ? !controllers.empty()
                                         : !has_word(controllers, ',', hierarchy.controller))
      continue;
    if (path.ends_with(" (deleted)") || path.starts_with("/..")) return std::nullopt;
    if (hierarchy.root == "/") return Group{path, hierarchy.point + (path == "/" ? "" : path)};
    if (path == hierarchy.root) return Group{path, hierarchy.point};
    if (!path.starts_with(hierarchy.root + "/")) return std::nullopt;
    return Group{path, hierarchy.point + path.substr(hierarchy.root.size())};
  }
  return std::nullopt;
}

std::optional<Group> group_of(const Hierarchy& hierarchy, pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/cgroup", live_thread(pid)));
  return text ? group_of(hierarchy, *text) : std::nullopt;
}

std::vector<pid_t> processes(const Group& group) {
  std::vector<pid_t> out;
  auto text = read_file(group.folder + "/cgroup.procs");
  if (!text) return out;
  for (auto word : words(*text, '\n'))
    if (std::from_chars(word.data(), word.data() + word.size(), out.emplace_back()).ec != std::errc{})
      out.pop_back();
  return out;
}

std::vector<pid_t> processes_below(const Group& group) {
  auto out = processes(group);
  std::error_code error;
  for (auto& child : entries(group.folder))
    if (std::filesystem::is_directory(child, error))
      for (auto pid : processes_below({group.path + "/" + child.filename().string(), child}))
        out.push_back(pid);
  return out;
}

bool is_within(const Group& group, const Group& above) {
  return group.folder == above.folder || group.folder.starts_with(above.folder + "/");
}

std::string cannot_have(const Hierarchy& hierarchy, const Group& group, std::string_view controller) {
  auto type = [](const Group& one) {
    return std::string(trimmed(read_file(one.folder + "/cgroup.type").value_or("")));
  };
  if (hierarchy.version == Version::v1) return "";
  if (type(group) == "threaded")
    return fmt::format("the cgroup {} is threaded, which {} cannot be on for", group.path, controller);
  auto above = lacking(hierarchy, group, controller);
  if (!above.empty() && !holds(above.front().folder + "/cgroup.controllers", controller))
    return fmt::format("the {} controller is not there for the cgroup {}", controller, above.front().path);
  for (auto& parent : above) {
    // Only the root may have processes of its own beside children with a controller, and only it has no type.
    if (access((parent.folder + "/cgroup.type").c_str(), F_OK) != 0) continue;
    if (auto own = processes(parent); !own.empty() || type(parent) != "domain")
      return fmt::format(
          "the {} controller is off below the cgroup {} and cannot be switched on: {}", controller,
          parent.path,
          own.empty() ? fmt::format("its type is \"{}\"", type(parent))
                      : fmt::format("{} of its own are in it",
                                    own.size() == 1 ? "a process" : fmt::format("{} processes", own.size())));
  }
  return "";
}

std::vector<Group> lacking(const Hierarchy& hierarchy, const Group& group, std::string_view controller) {
  std::vector<Group> out;
  if (hierarchy.version == Version::v1) return out;
  for (auto above = group; above.folder.size() > hierarchy.point.size();) {
    above.folder.resize(above.folder.rfind('/'));
    above.path.resize(above.path.rfind('/'));
    if (above.path.empty()) above.path = "/";
    if (holds(above.folder + "/cgroup.subtree_control", controller)) break;
    out.insert(out.begin(), above);
  }
  return out;
}

std::uint64_t identity(const std::string& folder) {
  struct stat info{};
  return stat(folder.c_str(), &info) == 0 ? info.st_ino : 0;
}

std::string find_again(const std::string& folder, std::uint64_t wanted) {
  if (identity(folder) == wanted) return folder;
  std::error_code error;
  for (auto& beside : entries(std::filesystem::path{folder}.parent_path()))
    if (std::filesystem::is_directory(beside, error) && identity(beside) == wanted) return beside;
  return "";
}

void enable_controller(Transaction& transaction, const Group& parent, const std::string& controller) {
  auto file = parent.folder + "/cgroup.subtree_control";
  auto what = fmt::format("enable the {} controller below the cgroup {}", controller, parent.path);
  Change change{.what = what};
  change.inverse =
      Inverse{"cgroup.controller",
              {{"folder", parent.folder}, {"identity", identity(parent.folder)}, {"controller", controller}}};
  change.act = [file, controller, what] { write_file(file, "+" + controller, what); };
  transaction.add(std::move(change));
}

}  // namespace squall::cgroup

namespace squall::undo {
namespace {

std::string text(const boost::json::object& with, std::string_view key) {
  return std::string(with.at(key).as_string());
}

std::string describe(const boost::json::object& with) {
  return fmt::format("disable the {} controller below {} again", text(with, "controller"),
                     text(with, "folder"));
}

// Names a child that limits something itself, or hands the controller on: disabling would take that away.
std::string user_below(const std::string& folder, const std::string& controller) {
  std::error_code error;
  for (auto& child : entries(folder)) {
    if (!std::filesystem::is_directory(child, error)) continue;
    for (auto* file : {"io.max", "io.latency", "io.cost.qos"})
      if (auto limit = read_file(child / file); limit && !trimmed(*limit).empty()) return child;
    if (auto passed = read_file(child / "cgroup.subtree_control"); passed)
      if ((" " + std::string(trimmed(*passed)) + " ").find(" " + controller + " ") != std::string::npos)
        return child;
  }
  return "";
}

Undone carry_out(const boost::json::object& with) {
  auto folder = text(with, "folder"), controller = text(with, "controller");
  auto file = folder + "/cgroup.subtree_control";
  auto now = read_file(file);
  if (!now || cgroup::identity(folder) != with.at("identity").to_number<std::uint64_t>())
    return {UndoOutcome::already};  // the cgroup is gone, and what was set in it too
  if ((" " + std::string(trimmed(*now)) + " ").find(" " + controller + " ") == std::string::npos)
    return {UndoOutcome::already};
  auto by_hand = fmt::format("echo -{} > {}", controller, file);
  if (auto user = user_below(folder, controller); !user.empty())
    return {UndoOutcome::conflict,
            fmt::format("the {} controller stays enabled below {}: {} uses it", controller, folder, user),
            fmt::format("leave it, or once {} needs it no more: {}", user, by_hand)};
  try {
    write_file(file, "-" + controller, describe(with));
  } catch (const std::exception& error) {
    return {UndoOutcome::failed, error.what(), by_hand};
  }
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb cgroup_controller;
const UndoVerb cgroup_controller{"cgroup.controller", describe, carry_out, {"cgroup"}};

}  // namespace squall::undo
