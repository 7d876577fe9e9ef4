#include "injector/host/cgroups/kernel_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <sstream>
#include <system_error>

#include "injector/change/records.hpp"
#include "injector/host/cgroups/cgroup.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::kernel_file {
namespace {

// Blanks and tabs as one: the kernel prints some lists with either.
std::string plain(const std::string& text) {
  std::istringstream words{text};
  std::string out, word;
  while (words >> word)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

// What no later file of the same name has: the start time of the process, or the inode of the cgroup's
// folder.
std::uint64_t owner_of(const std::string& file) {
  constexpr std::string_view processes = "/proc/";
  if (file.starts_with("/proc/sys/")) return 0;
  if (!file.starts_with(processes)) return cgroup::identity(file.substr(0, file.rfind('/')));
  pid_t pid = 0;
  std::from_chars(file.data() + processes.size(), file.data() + file.size(), pid);
  const auto stat = read_process_stat(pid);
  return stat ? stat->start_ticks : 0;
}

}  // namespace

void set(Transaction& host, const std::string& file, const std::string& value, const std::string& what,
         const std::string& reads_as, const std::string& at_first) {
  const auto owner = owner_of(file);
  auto before = read_file(file);
  if (!before && errno == ENOENT && owner && !at_first.empty()) before = at_first;
  if (!before) throw std::system_error(errno, std::generic_category(), what + ": read " + file);
  Change change{.what = what};
  change.inverse = Inverse{"kernel_file.restore",
                           {{"file", file},
                            {"owner", owner},
                            {"before", std::string(trimmed(*before))},
                            {"ours", plain(reads_as.empty() ? value : reads_as)}}};
  change.act = [file, value, what, owner] {
    if (owner_of(file) != owner) throw std::runtime_error(file + " is another's by now");
    write_file(file, value, what);
  };
  host.add(std::move(change));
}

}  // namespace squall::kernel_file

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("write \"{}\" to {} again", text_of(with, "before"), text_of(with, "file"));
}

Undone carry_out(const boost::json::object& with) {
  const auto file = text_of(with, "file"), before = text_of(with, "before"), ours = text_of(with, "ours");
  const auto now = read_file(file);
  if (!now || kernel_file::owner_of(file) != number_of(with, "owner")) return {UndoOutcome::already};
  const auto value = kernel_file::plain(*now);
  if (value == kernel_file::plain(before)) return {UndoOutcome::already};
  const auto by_hand = fmt::format("echo '{}' > {}", before, file);
  if (value != ours)
    return {
        UndoOutcome::conflict,
        fmt::format("{} holds \"{}\", which somebody else wrote; it held \"{}\" before", file, value, before),
        by_hand};
  try {
    write_file(file, before, describe(with));
  } catch (const std::exception& error) {
    return {UndoOutcome::failed, error.what(), by_hand};
  }
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb kernel_file_restore;
const UndoVerb kernel_file_restore{"kernel_file.restore", describe, carry_out, {"cgroup", "sysctl"}};

}  // namespace squall::undo
