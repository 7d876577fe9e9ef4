#include "controller/engine/active_runs.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "injector/targets.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// A folder of this user alone: $XDG_RUNTIME_DIR/squall, else /tmp/squall-UID made with mode 0700 and checked to be ours.
std::string registry_folder() {
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime && *runtime) return std::string(runtime) + "/squall";
  return fmt::format("/tmp/squall-{}", ::geteuid());
}

bool is_ours(const std::string& folder) {
  struct stat info {};
  return ::lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::geteuid();
}

}  // namespace

ActiveRun::ActiveRun(const std::string& scenario, const std::string& folder) {
  const auto registry = registry_folder();
  ::mkdir(registry.c_str(), 0700);
  if (!is_ours(registry)) return;  // `squall halt` will not find this drill; Ctrl-C and signals still do
  auto self = read_process(::getpid());
  path_ = fmt::format("{}/{}.json", registry, ::getpid());
  std::error_code error;
  json::object entry{{"pid", ::getpid()},
                     {"start_ticks", self ? self->start_ticks : 0},
                     {"scenario", scenario},
                     {"folder", fs::absolute(folder, error).string()}};
  std::ofstream{path_} << json::serialize(entry) << "\n";
}

ActiveRun::~ActiveRun() {
  std::error_code error;
  if (!path_.empty()) fs::remove(path_, error);
}

std::vector<RunningDrill> running_drills() {
  std::vector<RunningDrill> out;
  const auto registry = registry_folder();
  if (!is_ours(registry)) return out;
  std::error_code error;
  for (auto& file : fs::directory_iterator(registry, error)) {
    std::stringstream text;
    text << std::ifstream{file.path()}.rdbuf();
    json::error_code bad;
    auto entry = json::parse(text.str(), bad);
    if (bad || !entry.is_object()) continue;
    auto& o = entry.get_object();
    if (!o.contains("pid") || !o.contains("start_ticks")) continue;
    const auto pid = static_cast<pid_t>(o["pid"].to_number<std::int64_t>(bad));
    auto process = read_process(pid);
    if (!process || process->start_ticks != o["start_ticks"].to_number<std::uint64_t>(bad)) {
      fs::remove(file.path(), error);
      continue;
    }
    auto text_of = [&](const char* key) { return o.contains(key) && o[key].is_string() ? std::string(o[key].as_string()) : ""; };
    out.push_back({pid, text_of("scenario"), text_of("folder")});
  }
  return out;
}

}  // namespace squall
