// What runs on this account, and its end: `squall halt`, `squall runs`.
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/commands/input.hpp"
#include "controller/commands/reports.hpp"
#include "controller/engine/active_runs.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// Undone first, reported after: longer than the undo of anything takes.
constexpr int patience_ms = 60'000;

std::string told(const RunningDrill& drill) {
  return fmt::format("{} (pid {}{}{}), record in {}", drill.scenario, drill.pid,
                     drill.started_by.empty() ? "" : ", started by ", drill.started_by, drill.folder);
}

bool is_called(const RunningDrill& drill, const std::string& name) {
  return name == drill.scenario || name == std::to_string(drill.pid) ||
         name == fs::path(drill.folder).filename().string() || name == drill.folder;
}

struct Halted {
  RunningDrill drill;
  bool ended = false;
  std::optional<bool> restored;
};

Halted halt(const RunningDrill& drill) {
  Halted out{drill, false, std::nullopt};
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, drill.pid, 0));
  if (pidfd < 0) {
    out.ended = true;
    return out;
  }
  say_who_halts(drill);
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0);
  pollfd end{pidfd, POLLIN, 0};
  out.ended = ::poll(&end, 1, patience_ms) == 1;
  ::close(pidfd);
  if (out.ended) out.restored = whether_restored(drill.folder);
  return out;
}

std::string outcome(const Halted& one) {
  if (!one.ended) return fmt::format("has not ended within {} s", patience_ms / 1000);
  if (!one.restored)
    return "ended; its record does not tell whether everything was undone: look with `squall status`";
  return *one.restored ? "ended; everything is undone and as found"
                       : "ended; NOT everything is as found: its report tells what is left";
}

std::vector<RunningDrill> meant(const Arguments& arguments, const std::vector<RunningDrill>& drills) {
  std::vector<RunningDrill> out;
  for (auto& drill : drills)
    if (arguments.files.empty() || std::any_of(arguments.files.begin(), arguments.files.end(),
                                               [&](auto& name) { return is_called(drill, name); }))
      out.push_back(drill);
  return out;
}

// Whether it is clear which drills are to end.
int unclear(const Arguments& arguments, const std::vector<RunningDrill>& drills) {
  for (auto& name : arguments.files) {
    if (std::any_of(drills.begin(), drills.end(), [&](auto& drill) { return is_called(drill, name); }))
      continue;
    complain(fmt::format("no drill that runs is called \"{}\"{}", name,
                         drills.empty() ? "" : "; `squall runs` lists them"));
    return exit_input;
  }
  if (drills.size() < 2 || arguments.all || !arguments.files.empty()) return exit_pass;
  complain(fmt::format("{} drills are running; say which (squall halt NAME), or --all", drills.size()));
  for (auto& drill : drills)
    fmt::print(stderr, "  {}\n", told(drill));
  return exit_input;
}

json::object as_json(const RunningDrill& drill) {
  return {{"scenario", drill.scenario},
          {"pid", drill.pid},
          {"folder", drill.folder},
          {"started_by", drill.started_by}};
}

}  // namespace

int halt_command(const Arguments& arguments) {
  const auto found = running_drills();
  for (auto& problem : found.problems)
    complain(problem);
  if (const int code = unclear(arguments, found.drills); code != exit_pass) return code;
  int code = found.problems.empty() || !found.drills.empty() ? exit_pass : exit_could_not_run;
  json::array halted;
  std::size_t still = 0;
  for (auto& drill : meant(arguments, found.drills)) {
    if (!arguments.json()) fmt::print("halting {}\n", told(drill));
    std::fflush(stdout);
    const auto one = halt(drill);
    if (!one.ended) ++still, code = exit_could_not_run;
    if (one.restored == false && code == exit_pass) code = exit_not_restored;
    auto line = as_json(drill);
    line["ended"] = one.ended;
    line["restored"] = one.restored ? json::value(*one.restored) : json::value{};
    halted.push_back(std::move(line));
    if (arguments.json()) continue;
    if (one.ended)
      fmt::print("{} {}\n", drill.scenario, outcome(one));
    else
      complain(fmt::format("{} (pid {}) {}", drill.scenario, drill.pid, outcome(one)));
  }
  if (arguments.json())
    fmt::print("{}\n",
               json::serialize(json::object{{"halted", std::move(halted)}, {"still_running", still}}));
  else if (found.drills.empty() && found.problems.empty())
    fmt::print("no drill of this account is running\n");
  return code;
}

int runs_command(const Arguments& arguments) {
  const auto found = running_drills();
  for (auto& problem : found.problems)
    complain(problem);
  const auto finished = finished_runs(arguments.runs);
  if (arguments.json()) {
    json::array running, over;
    for (auto& drill : found.drills)
      running.push_back(as_json(drill));
    for (auto& run : finished)
      over.push_back(json::object{{"run", run.name},
                                  {"scenario", run.scenario},
                                  {"verdict", run.verdict},
                                  {"started_at", text::rfc3339(run.wall_start_ns)},
                                  {"started_by", run.started_by},
                                  {"folder", run.folder}});
    fmt::print("{}\n",
               json::serialize(json::object{{"running", std::move(running)}, {"finished", std::move(over)}}));
    return exit_pass;
  }
  for (auto& drill : found.drills)
    fmt::print("running       {}\n", told(drill));
  for (auto& run : finished)
    fmt::print("{:<13} {}{}{}\n", run.verdict, run.name, run.started_by.empty() ? "" : ", started by ",
               run.started_by);
  if (found.drills.empty() && finished.empty())
    fmt::print("no drill of this account is running, and none is kept in {}\n", arguments.runs);
  return exit_pass;
}

}  // namespace squall
