// What a person types, one function a command; each returns the exit code of scenario.md:
// 0 pass · 1 fail · 2 the input is wrong · 3 inconclusive · 4 halted · 5 could not run · 6 a host could not
// be restored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace squall {

enum ExitCode {
  exit_pass = 0,
  exit_fail = 1,
  exit_input = 2,
  exit_inconclusive = 3,
  exit_halted = 4,
  exit_could_not_run = 5,
  exit_not_restored = 6
};

// The options of all commands; each command uses those that make sense for it.
struct Arguments {
  std::vector<std::string> files;       // FILE, FILE…, RUN or RUN RUN
  std::string fault;                    // inject FAULT, faults NAME
  std::vector<std::string> parameters;  // key=value
  std::vector<std::string> on;          // --on key=value
  std::string lasts;                    // --for 30s
  bool only_plan = false;               // inject --plan
  std::string landscape;  // --landscape FILE; "" for landscape.yaml beside the scenario, if there is one
  std::string host;       // --host NAME
  bool all = false;       // --all: every host of the landscape; of halt, every drill
  std::string state = "/var/lib/squall";
  std::string runs = "./runs";
  std::string junit, markdown;      // of run: files beside those in the run's folder
  std::string output = "text";      // text | json
  bool live = false;                // check --live: ask the alert sources too
  std::string format = "terminal";  // of report
  std::string schema;               // check --schema [scenario|landscape]
  std::optional<std::uint64_t> seed;
  std::string listen = "localhost:8474";  // of toxiproxy
  std::string config;                     // of toxiproxy
  bool metrics = false;                   // of toxiproxy
  std::string log_level = "info";         // debug | info | warning | error | off
  std::string log_file;                   // of squall itself; "" for none
  std::string drills, store;              // of serve
  std::string serve_at = "127.0.0.1:8475";
  std::vector<std::string> names;                            // of serve: more names by which it is reached
  std::string server = "http://127.0.0.1:8475", token_file;  // of schedule
  bool allow_commands = false, new_token = false;
  bool until_eof = false;      // of run: it ends with its standard input
  std::string color = "auto";  // auto | always | never
  bool json() const { return output == "json"; }
};

int run_command(const Arguments&);
int plan_command(const Arguments&);
int check_command(const Arguments&);
int inject_command(const Arguments&);
int faults_command(const Arguments&);
int doctor_command(const Arguments&);
int status_command(const Arguments&);
int undo_command(const Arguments&);
int halt_command(const Arguments&);
int runs_command(const Arguments&);
int report_command(const Arguments&);
int compare_command(const Arguments&);
int toxiproxy_command(const Arguments&);
int serve_command(const Arguments&);
int schedule_command(const Arguments&);

}  // namespace squall
