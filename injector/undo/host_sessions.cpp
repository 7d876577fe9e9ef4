#include "injector/undo/host_sessions.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using undo::number_of;
using undo::text_of;

constexpr const char* folder = "/run/squall";

std::string file_of(const std::string& session) {
  return fmt::format("{}/{}.json", folder, session);
}

bool alive(pid_t pid, std::uint64_t ticks) {
  const auto stat = pid > 0 ? read_process_stat(pid) : std::nullopt;
  return stat && stat->start_ticks == ticks && !stat->ended();
}

[[noreturn]] void fail(const std::string& attempt) {
  throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

void make_folder() {
  if (::mkdir(folder, 0755) != 0 && errno != EEXIST) fail(fmt::format("make the folder {}", folder));
}

bool flag(const json::object& of, const char* key) {
  auto* value = of.if_contains(key);
  return value && value->is_bool() && value->get_bool();
}

std::optional<HostSession> read(const fs::path& path) {
  const auto text = read_file(path.string());
  json::error_code broken;
  const auto value = text ? json::parse(*text, broken) : json::value{};
  if (broken || !value.is_object()) return {};
  auto& of = value.get_object();
  HostSession out{
      .session = path.stem().string(), .state = text_of(of, "state"), .boot = text_of(of, "boot")};
  out.pid = static_cast<pid_t>(number_of(of, "pid"));
  out.guardian = static_cast<pid_t>(number_of(of, "guardian"));
  out.ticks = number_of(of, "ticks");
  out.guardian_ticks = number_of(of, "guardian_ticks");
  out.device = number_of(of, "device");
  out.inode = number_of(of, "inode");
  out.ended = flag(of, "ended");
  out.clean = flag(of, "clean");
  return out;
}

// A file that the process has open, by another name of it.
std::string held_by(pid_t pid, const HostSession& session) {
  for (auto& open : entries(fmt::format("/proc/{}/fd", pid))) {
    struct stat info{};
    if (::stat(open.c_str(), &info) == 0 && info.st_ino == session.inode && info.st_dev == session.device)
      return open.string();
  }
  return "";
}

}  // namespace

std::string canonical(const std::string& path) {
  std::error_code error;
  auto out = fs::weakly_canonical(fs::absolute(path, error), error);
  return error ? path : out.string();
}

bool HostSession::owner_alive() const {
  return alive(pid, ticks);
}
bool HostSession::guardian_alive() const {
  return alive(guardian, guardian_ticks);
}

void note_session(const HostSession& of) {
  make_folder();
  const auto path = file_of(of.session), making = path + ".new";
  {
    std::ofstream file{making, std::ios::trunc};
    file << json::serialize(json::object{{"state", canonical(of.state)},
                                         {"boot", boot_id()},
                                         {"pid", of.pid},
                                         {"ticks", of.ticks},
                                         {"guardian", of.guardian},
                                         {"guardian_ticks", of.guardian_ticks},
                                         {"device", of.device},
                                         {"inode", of.inode},
                                         {"ended", of.ended},
                                         {"clean", of.clean}});
    if (!file.flush()) fail(fmt::format("write {}", making));
  }
  if (::rename(making.c_str(), path.c_str()) != 0) fail(fmt::format("write {}", path));
}

Fd take_host_lock() {
  make_folder();
  const auto path = std::string(folder) + "/lock";
  Fd lock{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) fail(fmt::format("lock {}", path));
  return lock;
}

void end_session(const std::string& name, bool clean) noexcept {
  try {
    auto session = host_session(name);
    if (!session) return;
    session->ended = true;
    session->clean = clean;
    note_session(*session);
  } catch (const std::exception&) {
  }
}

void forget_old_sessions() {
  constexpr auto old = std::chrono::minutes{1};
  std::error_code error;
  for (auto& path : entries(folder)) {
    const auto session = path.extension() == ".json" ? read(path) : std::nullopt;
    if (!session) continue;
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(path, error);
    if (session->boot != boot_id() || (session->ended && session->clean && age > old))
      fs::remove(path, error);
  }
}

void forget_session(const std::string& session) {
  ::unlink(file_of(session).c_str());
}

std::vector<HostSession> host_sessions(const std::string& except) {
  std::vector<HostSession> out;
  for (auto& path : entries(folder)) {
    if (path.extension() != ".json" || path.stem() == except) continue;
    auto session = read(path);
    if (session && session->boot == boot_id()) out.push_back(std::move(*session));
  }
  std::sort(out.begin(), out.end(), [](auto& one, auto& other) { return one.session < other.session; });
  return out;
}

std::optional<HostSession> host_session(const std::string& name) {
  auto out = read(file_of(name));
  return out && out->boot == boot_id() ? out : std::nullopt;
}

std::string held_journal(const HostSession& of) {
  for (auto [pid, is] : {std::pair{of.pid, of.owner_alive()}, {of.guardian, of.guardian_alive()}})
    if (is)
      if (auto open = held_by(pid, of); !open.empty()) return open;
  return "";
}

std::optional<JournalContent> journal_of(const HostSession& of) {
  const auto path = journal_path(of.state, of.session);
  if (auto there = read_journal(path)) return there;
  const auto held = held_journal(of);
  const auto text = held.empty() ? std::nullopt : read_file(held);
  return text ? parse_journal(path, *text) : std::nullopt;
}

std::vector<JournalContent> read_host_journals(const std::string& state, const std::string& except) {
  auto out = read_journals(state, except);
  std::set<std::string> there;
  for (auto& journal : out)
    there.insert(journal.session);
  for (auto& session : host_sessions(except))
    if (!there.contains(session.session) && !(session.ended && session.clean))
      if (auto journal = journal_of(session)) out.push_back(std::move(*journal));
  return out;
}

}  // namespace squall
