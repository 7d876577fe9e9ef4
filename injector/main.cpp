#include <cstdio>

#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "injector/host/processes/worker.hpp"
#include "injector/overlay/detach.hpp"
#include "injector/overlay/keeper.hpp"
#include "injector/session/doctor.hpp"
#include "injector/session/maintenance.hpp"
#include "injector/session/session.hpp"
#include "injector/system/host_log.hpp"
#include "injector/system/host_text.hpp"
#include "injector/undo/guardian.hpp"

namespace {

void add_log_options(CLI::App* sub, squall::LogOptions& log) {
  sub->add_option("--log-level", log.level, "what the host's log is told: debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  sub->add_option("--log-file", log.file, "a file that the log is appended to, beside the host's syslog");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The host side of Squall: applies faults, measures them, undoes them. `squall` starts it; one seldom "
      "does."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("squall-injector ") + SQUALL_VERSION);
  std::string state = "/var/lib/squall", policy, output = "text", journal, session;
  squall::LogOptions log;
  std::int64_t pid = 0;
  std::uint64_t ticks = 0;
  auto add = [&](const char* name, const char* sentence) {
    auto* sub = app.add_subcommand(name, sentence);
    sub->add_option("--state", state, "where the undo journal is kept");
    sub->add_option("--output", output, "text or json")->check(CLI::IsMember({"text", "json"}));
    add_log_options(sub, log);
    return sub;
  };
  auto* stdio = add("stdio", "serve one caller over standard input and output");
  stdio->add_option("--policy", policy, "what may be done here (default /etc/squall/policy.yaml)");
  auto* status = add("status", "what is in force on this host");
  auto* undo = add("undo", "undo all of it, now");
  auto* recover = add("recover", "undo what dead injectors left, after a crash or a reboot");
  auto* rescue = add("rescue", "")->group("");  // started by squall where an injector says nothing any more
  rescue->add_option("--session", session)->required();
  auto* doctor = add("doctor", "which faults this host can take");
  doctor->add_option("--policy", policy, "what may be done here (default /etc/squall/policy.yaml)");
  auto* guardian = app.add_subcommand("guardian", "")->group("");  // started by the injector itself
  guardian->add_option("--journal", journal)->required();
  guardian->add_option("--pid", pid)->required();
  guardian->add_option("--ticks", ticks)->required();
  std::vector<std::string> work;
  auto* worker = app.add_subcommand("worker", "")->group("");  // started by faults that need one
  worker->add_option("work", work)->required();
  add_log_options(guardian, log);
  auto* overlay = app.add_subcommand(squall::overlay::command, "")->group("");  // started by a fault on files
  std::string tag;
  overlay->add_option("tag", tag)->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (*guardian) log.name = "squall-guardian";
  if (const auto error = squall::open_log(log); !error.empty() && !*guardian) {
    fmt::print(stderr, "squall-injector: error: {}\n", error);
    if (*stdio) return 5;  // whoever undoes goes on without
  }
  try {
    if (*worker) return squall::work(work);
    if (*guardian) return squall::guard(journal, static_cast<pid_t>(pid), ticks);
    if (*overlay) return squall::overlay::keep(tag);
    if (*status) return squall::show_status(state, output == "json");
    if (*undo) return squall::undo_host(state, output == "json");
    if (*recover) return squall::recover_host(state, output == "json");
    if (*rescue) return squall::rescue_session(state, session);
    if (*doctor) {
      const auto found = squall::examine_host();
      fmt::print("{}", output == "json"
                           ? squall::valid_json(boost::json::serialize(squall::doctor_json(found))) + "\n"
                           : squall::valid_utf8(squall::doctor_text(found)));
      std::fflush(stdout);
      const std::string file = policy.empty() ? "/etc/squall/policy.yaml" : policy;
      if (::access(file.c_str(), F_OK) == 0 && ::access(file.c_str(), R_OK) != 0) {
        fmt::print(stderr, "squall-injector: warning: the policy {} can be read by root alone\n", file);
        return 0;
      }
      const auto rules = squall::read_policy(file, !policy.empty());
      if (output == "text") fmt::print("{}", squall::valid_utf8(squall::policy_text(rules)));
      if (output == "json")
        for (auto& finding : rules.findings())
          fmt::print(stderr, "squall-injector: warning: {}\n", squall::printable(finding));
      return 0;
    }
    squall::SessionOptions options;
    options.state = state;
    options.policy =
        squall::read_policy(policy.empty() ? "/etc/squall/policy.yaml" : policy, !policy.empty());
    return squall::serve(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "squall-injector: error: {}\n", e.what());
    squall::log_line(squall::LogLevel::error, e.what());
    return 5;
  }
}
