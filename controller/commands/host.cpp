// Commands about one host: doctor, status, undo; and halt, about this user's running drills.
#include <csignal>
#include <cstdio>
#include <thread>

#include <sys/syscall.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "controller/commands/one_host.hpp"
#include "controller/engine/active_runs.hpp"
#include "controller/hosts/child.hpp"

namespace squall {
namespace {

namespace json = boost::json;

// Runs one of the injector's own verbs on the host and hands its output and exit code through.
int pass_through(const Arguments& arguments, const std::string& verb, bool privileged) {
  const auto host = choose_host(arguments);
  if (!host.ok) {
    fmt::print(stderr, "{}", host.error);
    return exit_input;
  }
  LinkOptions options;
  options.state = arguments.state;
  options.privileged = privileged;
  std::vector<std::string> more;
  if (arguments.json()) more = {"--output", "json"};
  try {
    const auto finished = run_to_end(injector_command(host.spec, options, verb, more));
    fmt::print("{}", finished.out);
    fmt::print(stderr, "{}", finished.err);
    return finished.exit_code == 255 && host.spec.link == HostSpec::Link::ssh ? exit_could_not_run : finished.exit_code;
  } catch (const std::exception& e) {
    complain(fmt::format("reach the host {}: {}", host.name, e.what()));
    return exit_could_not_run;
  }
}

// The journal belongs to root; where it can be read without sudo, no sudo is asked for.
bool can_read(const std::string& state) { return ::access((state + "/journal").c_str(), R_OK | X_OK) == 0; }

}  // namespace

int status_command(const Arguments& arguments) { return pass_through(arguments, "status", !can_read(arguments.state)); }
int undo_command(const Arguments& arguments) { return pass_through(arguments, "undo", true); }
int doctor_command(const Arguments& arguments) { return pass_through(arguments, "doctor", false); }

int halt_command(const Arguments& arguments) {
  const auto drills = running_drills();
  json::array halted;
  for (auto& drill : drills) {
    const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, drill.pid, 0));
    if (pidfd < 0) continue;
    ::syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0);
    ::close(pidfd);
    if (!arguments.json()) fmt::print("halting {} (pid {}), record in {}\n", drill.scenario, drill.pid, drill.folder);
    halted.push_back(json::object{{"scenario", drill.scenario}, {"pid", drill.pid}, {"folder", drill.folder}});
  }
  // Undone first, reported after: wait until each has ended, and say so when one takes longer than it may.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (!running_drills().empty() && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  const auto still = running_drills();
  if (arguments.json())
    fmt::print("{}\n", json::serialize(json::object{{"halted", std::move(halted)}, {"still_running", still.size()}}));
  else if (drills.empty())
    fmt::print("no drill is running\n");
  for (auto& drill : still) complain(fmt::format("{} (pid {}) has not ended within 30s", drill.scenario, drill.pid));
  return still.empty() ? exit_pass : exit_could_not_run;
}

}  // namespace squall
