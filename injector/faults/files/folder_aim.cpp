#include "injector/faults/files/folder_aim.hpp"

#include <cstring>
#include <filesystem>
#include <set>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/faults/aim/selected.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

namespace fs = std::filesystem;

ino_t mount_namespace(pid_t pid) {
  struct stat info{};
  return ::stat(fmt::format("/proc/{}/ns/mnt", pid).c_str(), &info) == 0 ? info.st_ino : 0;
}

bool lies_in(std::string_view file, const std::string& folder) {
  return file.starts_with(folder) && (file.size() == folder.size() || file[folder.size()] == '/');
}

std::string link_text(const fs::path& link) {
  std::error_code error;
  return fs::read_symlink(link, error).string();
}

std::size_t maps_in(pid_t pid, const std::string& folder) {
  const auto text = read_file(fmt::format("/proc/{}/maps", pid)).value_or("");
  std::size_t out = 0;
  for (auto at = text.find(" /"); at != text.npos; at = text.find(" /", at + 1))
    out += lies_in(std::string_view{text}.substr(at + 1, text.find('\n', at) - at - 1), folder);
  return out;
}

Holder holdings(pid_t pid, const std::string& folder) {
  Holder out;
  std::error_code error;
  const auto proc = fmt::format("/proc/{}", pid);
  for (auto& entry : fs::directory_iterator{proc + "/fd", error})
    out.descriptors += lies_in(link_text(entry.path()), folder);
  out.working_folder = lies_in(link_text(proc + "/cwd"), folder);
  out.maps = maps_in(pid, folder);
  return out;
}

tl::expected<overlay::Place, std::string> find_place(const TargetSpec& on,
                                                     const std::vector<Process>& selected) {
  overlay::Place out{::getpid(), 0, *on.path};
  if (!selected.empty()) {
    std::set<ino_t> namespaces;
    for (auto& process : selected)
      namespaces.insert(mount_namespace(process.pid));
    if (namespaces.size() > 1)
      return tl::unexpected(fmt::format("{} selects processes in {} mount namespaces: expected those of one",
                                        on.to_string(), namespaces.size()));
    if (*namespaces.begin() != mount_namespace(::getpid()))
      out = {selected.front().pid, selected.front().start_ticks, *on.path};
  }
  std::error_code error;
  if (out.pid == ::getpid()) out.path = fs::canonical(out.path, error).string();
  struct stat info{};
  if (error || !fs::path{out.path}.is_absolute() || ::stat(out.below().c_str(), &info) != 0)
    return tl::unexpected(
        fmt::format("path \"{}\": there is no such folder, or its path is not absolute", *on.path));
  if (!S_ISDIR(info.st_mode)) return tl::unexpected(fmt::format("path \"{}\" is no folder", *on.path));
  while (out.path.size() > 1 && out.path.ends_with('/'))
    out.path.pop_back();
  return out;
}

// What Squall itself needs must not wait for an overlay.
std::string own_file_in(const std::string& folder) {
  std::error_code error;
  if (const auto program = link_text("/proc/self/exe"); lies_in(program, folder)) return program;
  for (auto& entry : fs::directory_iterator{"/proc/self/fd", error})
    if (const auto name = link_text(entry.path()); lies_in(name, folder)) return name;
  return "";
}

}  // namespace

std::string Holder::to_string() const {
  std::vector<std::string> what;
  if (descriptors) what.push_back(fmt::format("{} descriptors", descriptors));
  if (maps) what.push_back(fmt::format("{} memory maps", maps));
  if (working_folder) what.push_back("its working folder");
  return fmt::format("{} ({})", process.to_string(), fmt::join(what, ", "));
}

tl::expected<FolderAim, std::string> find_folder(const TargetSpec& on, const Setting& setting) {
  if (!on.path) return tl::unexpected(std::string{"expected a folder (on: path)"});
  FolderAim out;
  if (on.selects_processes()) {
    auto processes_alone = on;
    processes_alone.path.reset();
    auto selected = select_processes(processes_alone, setting);
    if (!selected) return tl::unexpected(selected.error());
    if (selected->processes.empty()) return tl::unexpected(none_selected(processes_alone, *selected));
    out.users = std::move(selected->processes);
  }
  auto place = find_place(on, out.users);
  if (!place) return tl::unexpected(place.error());
  out.place = std::move(*place);
  const bool ours = out.place.pid == ::getpid();
  static const std::set<std::string_view> never{"/", "/proc", "/sys", "/dev", "/run"};
  if (never.contains(out.place.path))
    return tl::unexpected(
        fmt::format("\"{}\" is the whole host's: expected a service's folder", out.place.path));
  if (const auto file = ours ? own_file_in(out.place.path) : ""; !file.empty())
    return tl::unexpected(fmt::format("\"{}\" holds {}, which Squall itself needs", out.place.path, file));
  struct stat info{};
  if (::stat(out.place.below().c_str(), &info) == 0)
    out.disk = fmt::format("{}:{}", major(info.st_dev), minor(info.st_dev));
  const auto there = mount_namespace(out.place.pid);
  for (const auto pid : all_processes()) {
    if (mount_namespace(pid) != there || pid == ::getpid()) continue;
    auto holder = holdings(pid, out.place.path);
    auto process =
        holder.descriptors || holder.maps || holder.working_folder ? read_process(pid) : std::nullopt;
    if (!process) continue;
    if (!on.selects_processes()) out.users.push_back(*process);
    holder.process = std::move(*process);
    out.holders.push_back(std::move(holder));
  }
  return out;
}

}  // namespace squall::faults
