#include <cstdio>

#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "injector/overlay/detach.hpp"
#include "injector/overlay/keeper.hpp"
#include "injector/session/doctor.hpp"
#include "injector/session/maintenance.hpp"
#include "injector/session/session.hpp"
#include "injector/system/host_text.hpp"
#include "injector/undo/guardian.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "The host side of Squall: applies faults, measures them, undoes them. `squall` starts it; one seldom "
      "does."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("squall-injector ") + SQUALL_VERSION);
  std::string state = "/var/lib/squall", policy, output = "text", journal, session;
  std::int64_t pid = 0;
  std::uint64_t ticks = 0;
  auto add = [&](const char* name, const char* sentence) {
    auto* sub = app.add_subcommand(name, sentence);
    sub->add_option("--state", state, "where the undo journal is kept");
    sub->add_option("--output", output, "text or json")->check(CLI::IsMember({"text", "json"}));
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
  auto* overlay = app.add_subcommand(squall::overlay::command, "")->group("");  // started by a fault on files
  std::string tag;
  overlay->add_option("tag", tag)->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
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
    (void)stdio;
    return squall::serve(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "squall-injector: error: {}\n", e.what());
    return 5;
  }
}
