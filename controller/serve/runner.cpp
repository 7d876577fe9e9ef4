#include "controller/serve/runner.hpp"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "controller/hosts/child.hpp"
#include "controller/serve/rights/secret.hpp"

namespace squall::serve {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr auto between_looks = std::chrono::milliseconds{100};

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream out{path, std::ios::binary};
  if (!(out << text).flush()) throw std::runtime_error(fmt::format("write {}", path.string()));
}

std::string run_id(const std::string& drill, std::int64_t now) {
  char when[32];
  const std::time_t seconds = now;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
  return fmt::format("{}-{}-{}", when, drill, new_token().substr(0, 6));
}

}  // namespace

struct Runner::Active {
  StoredRun run;
  int input = -1;  // the end of its standard input that we hold
  bool ours = false;
  bool halted = false;
  std::unique_ptr<boost::asio::posix::stream_descriptor> death;
  std::string record;  // the file that is followed
  std::streamoff read = 0;
  std::string rest;
  Live live;
  bool users_changed = false;
  ~Active() {
    if (input >= 0) ::close(input);
  }
};

Runner::Runner(boost::asio::io_context& io, Store& store, Events& events, std::string folder,
               std::string state)
    : io_(io),
      store_(store),
      events_(events),
      folder_(std::move(folder)),
      state_(std::move(state)),
      program_(fs::read_symlink("/proc/self/exe").string()),
      follow_(io) {
  fs::create_directories(folder_);
}

Runner::~Runner() = default;

void Runner::settle() {
  for (auto& run : store_.unfinished()) {
    auto left = std::make_shared<Active>();
    left->run = run;
    active_[run.id] = left;
    Fd pidfd;
    if (run.pid > 0) pidfd = open_process(static_cast<pid_t>(run.pid), static_cast<std::uint64_t>(run.born));
    if (pidfd)
      watch(left, std::move(pidfd));
    else
      finish(left);
  }
}

std::string Runner::in_the_way(const Landscape& landscape, const Touched& touched) const {
  const auto near = neighbours(landscape, touched.services);
  for (auto& [id, active] : active_) {
    const auto& run = active->run;
    if (!touched.beyond.empty() || run.services.empty())
      return fmt::format("{} is running, and what one of the two is aimed at is not told by services",
                         run.drill);
    for (auto& service : run.services)
      if (std::find(near.begin(), near.end(), service) != near.end())
        return fmt::format("{} is running on {}, which it touches or depends on", run.drill, service);
  }
  return "";
}

StoredRun Runner::start(const FolderDrill& drill, const std::string& landscape_text, const Cause& cause) {
  if (!drill.refused.empty()) throw std::runtime_error(drill.refused);
  StoredRun run;
  run.started_at = std::time(nullptr);
  run.id = run_id(drill.name, run.started_at);
  run.drill = drill.name, run.title = drill.title, run.squad = drill.squad, run.hash = drill.hash;
  run.started_by = cause.who, run.schedule = cause.schedule, run.due = cause.due;
  if (drill.touched.beyond.empty()) run.services = drill.touched.services;
  run.squads = drill.touched.squads;
  run.state = "starting";
  run.folder = (fs::path(folder_) / run.id).string();
  fs::create_directories(fs::path(run.folder) / "runs");
  const auto file = fs::path(run.folder) / (drill.name + ".yaml");
  write_file(file, drill.text);
  if (!landscape_text.empty()) write_file(fs::path(run.folder) / "landscape.yaml", landscape_text);
  if (cause.schedule.empty())
    store_.add_run(run);
  else
    store_.begin_occurrence(run, run.started_at);

  auto active = std::make_shared<Active>();
  active->run = run;
  active->ours = true;
  active_[run.id] = active;
  const int output =
      ::open((run.folder + "/output.txt").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  try {
    Pipe input;
    const auto pid = spawn({program_, "run", file.string(), "--until-eof", "--runs", run.folder + "/runs",
                            "--state", state_, "--color", "never"},
                           input.read, output, output);
    active->input = Pipe::take(input.write);
    active->run.pid = pid;
    if (const auto stat = read_process_stat(pid))
      active->run.born = static_cast<std::int64_t>(stat->start_ticks);
  } catch (const std::exception& e) {
    active->run.detail = e.what();
    finish(active);
  }
  if (output >= 0) ::close(output);
  if (active->run.pid == 0) return active->run;
  active->run.state = "running";
  store_.run_began(run.id, active->run.pid, active->run.born);
  watch(active,
        open_process(static_cast<pid_t>(active->run.pid), static_cast<std::uint64_t>(active->run.born)));
  events_.tell("run.started", {{"run", run.id}, {"drill", run.drill}, {"by", run.started_by}});
  if (!following_) follow();
  return active->run;
}

void Runner::watch(const std::shared_ptr<Active>& active, Fd pidfd) {
  active->death = std::make_unique<boost::asio::posix::stream_descriptor>(io_, pidfd.release());
  active->death->async_wait(boost::asio::posix::stream_descriptor::wait_read, [this, active](auto error) {
    if (error) return;
    int status = 0;
    if (active->ours && ::waitpid(static_cast<pid_t>(active->run.pid), &status, WNOHANG) > 0)
      active->run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    finish(active);
  });
}

void Runner::finish(const std::shared_ptr<Active>& active) {
  read_on(*active);
  auto& run = active->run;
  run.state = "ended";
  run.ended_at = std::time(nullptr);
  read_outcome(run);
  store_.run_ended(run);
  active_.erase(run.id);
  events_.tell("run.ended", {{"run", run.id}, {"drill", run.drill}, {"verdict", run.verdict}});
  if (ended) ended(run);
}

bool Runner::halt(const std::string& id) {
  const auto found = active_.find(id);
  if (found == active_.end() || found->second->run.pid <= 0) return false;
  auto& active = *found->second;
  if (!active.halted && active.death) signal_process(Fd{::dup(active.death->native_handle())}, SIGTERM);
  active.halted = true;
  return true;
}

std::size_t Runner::halt_all() {
  std::vector<std::string> all;
  for (auto& [id, active] : active_)
    all.push_back(id);
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](auto& id) { return halt(id); }));
}

std::vector<StoredRun> Runner::running() const {
  std::vector<StoredRun> out;
  for (auto& [id, active] : active_)
    out.push_back(active->run);
  return out;
}

const Runner::Live* Runner::live(const std::string& id) const {
  const auto found = active_.find(id);
  return found == active_.end() ? nullptr : &found->second->live;
}

// As long as a drill runs, its record is read on ten times a second.
void Runner::follow() {
  following_ = !active_.empty();
  if (!following_) return;
  for (auto& [id, active] : active_)
    read_on(*active);
  follow_.expires_after(between_looks);
  follow_.async_wait([this](auto error) {
    if (!error) follow();
  });
}

void Runner::read_on(Active& active) {
  if (active.record.empty()) {
    const auto folder = record_folder(active.run.folder);
    if (folder.empty()) return;
    active.record = folder + "/events.jsonl";
  }
  std::ifstream in{active.record, std::ios::binary};
  in.seekg(active.read);
  char part[65536];
  while (in.read(part, sizeof part) || in.gcount() > 0) {
    active.read += in.gcount();
    active.rest.append(part, static_cast<std::size_t>(in.gcount()));
  }
  std::size_t begin = 0;
  for (auto end = active.rest.find('\n'); end != std::string::npos; end = active.rest.find('\n', begin)) {
    take(active, active.rest.substr(begin, end - begin));
    begin = end + 1;
  }
  active.rest.erase(0, begin);
  if (active.users_changed) tell_users(active);
}

void Runner::take(Active& active, const std::string& line) {
  json::error_code wrong;
  const auto parsed = json::parse(line, wrong);
  if (wrong || !parsed.is_object()) return;
  auto event = parsed.get_object();
  auto text = [&](std::string_view key) {
    const auto* member = event.if_contains(key);
    return member && member->is_string() ? std::string(member->get_string()) : std::string();
  };
  const auto kind = text("kind");
  if (kind == "probe") {
    auto& [good, all] = active.live.users[text("s")];
    const auto* ok = event.if_contains("ok");
    good += ok && ok->is_bool() && ok->get_bool();
    ++all;
    active.users_changed = true;
    return;
  }
  if (kind == "window.started") active.live.window = text("window"), active.live.users.clear();
  if (kind == "fault.dose" || kind == "fault.undone")
    if (const auto* dose = event.if_contains("dose"); dose && dose->is_object())
      if (const auto* measured = dose->get_object().if_contains("measured"))
        active.live.doses[text("step")] = json::serialize(*measured);
  if (kind == "alert") active.live.alerts.push_back(fmt::format("{} {}", text("alert"), text("state")));
  if (active.live.alerts.size() > 50) active.live.alerts.erase(active.live.alerts.begin());
  if (kind == "run.started" || kind == "clock" || kind == "alert.rule") return;
  event["run"] = active.run.id;
  events_.tell("record", event);
}

void Runner::tell_users(Active& active) {
  json::object users;
  for (auto& [service, counted] : active.live.users)
    users[service] = json::object{{"good", counted.first}, {"all", counted.second}};
  events_.tell("users",
               {{"run", active.run.id}, {"window", active.live.window}, {"services", std::move(users)}});
  active.users_changed = false;
}

}  // namespace squall::serve
