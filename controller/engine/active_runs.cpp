#include "controller/engine/active_runs.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/engine/who.hpp"
#include "injector/system/targets.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// Where entries may be, the best first. All are looked into: who halts may have another environment than who
// started.
std::vector<std::string> folders() {
  std::vector<std::string> out;
  const auto uid = ::geteuid();
  std::error_code missing;
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime && *runtime)
    out.push_back(fmt::format("{}/squall", runtime));
  if (const auto run = fmt::format("/run/user/{}", uid); fs::is_directory(run, missing))
    out.push_back(run + "/squall");
  if (uid == 0) out.push_back("/run/squall");
  out.push_back(fmt::format("/tmp/squall-{}", uid));
  std::vector<std::string> each;
  for (auto& folder : out)
    if (std::find(each.begin(), each.end(), folder) == each.end()) each.push_back(folder);
  return each;
}

std::string whole(const std::string& path) {
  std::stringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}

// Where other squalls of this user have theirs: each in the environment that it was started with.
std::vector<std::string> folders_of_others() {
  std::vector<std::string> out;
  std::error_code error;
  for (auto& process : fs::directory_iterator("/proc", error)) {
    struct stat info{};
    const auto path = process.path().string();
    if (::lstat(path.c_str(), &info) != 0 || info.st_uid != ::geteuid() ||
        whole(path + "/comm") != "squall\n")
      continue;
    std::istringstream environment{whole(path + "/environ")};
    constexpr std::string_view wanted = "XDG_RUNTIME_DIR=";
    for (std::string entry; std::getline(environment, entry, '\0');)
      if (entry.size() > wanted.size() && entry.starts_with(wanted))
        out.push_back(entry.substr(wanted.size()) + "/squall");
  }
  return out;
}

// A folder of this user alone, no link to another one: "" where it is, else why it is not. Of a missing one:
// "missing".
std::string unsafe(const std::string& folder) {
  struct stat info{};
  if (::lstat(folder.c_str(), &info) != 0) return errno == ENOENT ? "missing" : std::strerror(errno);
  if (S_ISLNK(info.st_mode)) return "it is a symbolic link";
  if (!S_ISDIR(info.st_mode)) return "it is no folder";
  if (info.st_uid != ::geteuid()) return fmt::format("it belongs to the user {}", info.st_uid);
  if ((info.st_mode & 077) == 0 || ::chmod(folder.c_str(), 0700) == 0) return "";
  return std::strerror(errno);
}

// The first that is safe, made where it is missing.
std::string registry_folder(std::string& problem) {
  for (auto& folder : folders()) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      problem += fmt::format("{}\"{}\" cannot be made: {}", problem.empty() ? "" : "; ", folder,
                             std::strerror(errno));
      continue;
    }
    const auto why = unsafe(folder);
    if (why.empty()) return folder;
    problem += fmt::format("{}\"{}\" cannot be trusted: {}", problem.empty() ? "" : "; ", folder, why);
  }
  problem = fmt::format(
      "`squall halt` could not find this drill: {}. Remove it, or set XDG_RUNTIME_DIR to a folder of your "
      "own",
      problem);
  return "";
}

std::string content_of_ours(const fs::path& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != ::geteuid()) return "";
  return whole(path);
}

std::optional<RunningDrill> read_entry(const fs::path& path, bool& stale) {
  json::error_code bad;
  auto entry = json::parse(content_of_ours(path), bad);
  if (bad || !entry.is_object()) return std::nullopt;
  auto& o = entry.get_object();
  if (!o.contains("pid") || !o.contains("start_ticks")) return std::nullopt;
  const auto pid = static_cast<pid_t>(o["pid"].to_number<std::int64_t>(bad));
  auto process = read_process(pid);
  stale = !process || process->start_ticks != o["start_ticks"].to_number<std::uint64_t>(bad);
  if (stale) return std::nullopt;
  auto text_of = [&](const char* key) {
    return o.contains(key) && o[key].is_string() ? std::string(o[key].as_string()) : "";
  };
  return RunningDrill{pid, text_of("scenario"), text_of("folder"), text_of("started_by"), path.string()};
}

std::string note_beside(const std::string& entry) {
  return entry + ".halted-by";
}

std::string own_entry;  // of this process, which runs one drill at a time

}  // namespace

ActiveRun::ActiveRun(const std::string& scenario, const std::string& folder) {
  std::string problem;
  const auto registry = registry_folder(problem);
  if (registry.empty()) throw std::runtime_error(problem);
  auto self = read_process(::getpid());
  path_ = fmt::format("{}/{}.json", registry, ::getpid());
  std::error_code error;
  json::object entry{{"pid", ::getpid()},
                     {"start_ticks", self ? self->start_ticks : 0},
                     {"scenario", scenario},
                     {"folder", fs::absolute(folder, error).string()},
                     {"started_by", who_am_i()}};
  std::ofstream file{path_};
  file << json::serialize(entry) << "\n";
  if (!file.flush())
    throw std::runtime_error(
        fmt::format("register the drill for `squall halt` in \"{}\": {}", path_, std::strerror(errno)));
  own_entry = path_;
}

ActiveRun::~ActiveRun() {
  std::error_code error;
  fs::remove(path_, error);
  fs::remove(note_beside(path_), error);
  own_entry.clear();
}

RunningDrills running_drills() {
  RunningDrills out;
  auto all = folders();
  for (auto& folder : folders_of_others())
    if (std::find(all.begin(), all.end(), folder) == all.end()) all.push_back(folder);
  for (auto& folder : all) {
    const auto why = unsafe(folder);
    if (why == "missing") continue;
    if (!why.empty()) {
      out.problems.push_back(fmt::format("\"{}\" was not looked into: {}", folder, why));
      continue;
    }
    std::error_code error;
    for (auto& file : fs::directory_iterator(folder, error)) {
      if (file.path().extension() != ".json") continue;
      bool stale = false;
      if (auto drill = read_entry(file.path(), stale)) out.drills.push_back(std::move(*drill));
      if (stale) fs::remove(file.path(), error);
    }
  }
  return out;
}

std::string registry_problem() {
  std::string problem;
  return registry_folder(problem).empty() ? problem : "";
}

void say_who_halts(const RunningDrill& drill) {
  std::ofstream{note_beside(drill.entry)} << who_am_i() << "\n";
}

std::string who_halted_us() {
  auto text = own_entry.empty() ? "" : content_of_ours(note_beside(own_entry));
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

}  // namespace squall
