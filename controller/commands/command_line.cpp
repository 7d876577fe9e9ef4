#include "controller/commands/command_line.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "controller/commands/input.hpp"
#include "injector/faults/fault.hpp"
#include "injector/system/host_log.hpp"

namespace squall {
namespace {

// Options that stand alone; every other one is followed by its value.
constexpr std::array<std::string_view, 10> flags{
    "--plan",      "--all",  "--live", "--proxy-metrics", "--until-eof", "--allow-commands",
    "--new-token", "--help", "-h",     "--version"};

// Options may stand before the command as after it.
void command_first(std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word == "--help" || word == "-h" || word == "--version") return;
    if (word.starts_with("-")) {
      const bool alone =
          word.find('=') != word.npos || std::find(flags.begin(), flags.end(), word) != flags.end();
      i += alone ? 0 : 1;
      continue;
    }
    std::rotate(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(i),
                words.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    return;
  }
}

constexpr const char* footer = R"(
exit codes
  0 pass   1 fail   2 the input is wrong   3 inconclusive   4 halted   5 could not run
  6 a host is not as found (the message says what is left and how to remove it)

What was done to a host is in its syslog, or journal, by squall-injector and squall-guardian
(journalctl -t squall-injector -t squall-guardian); --log-file FILE has what squall itself did.

A first look:  squall plan FILE     what would be done, host by host; changes nothing
               squall doctor        which faults this host can take
               squall help FAULT    a fault's parameters)";

// The fault of an injection may stand among its parameters: it is the one without a "=".
void faults_first(Arguments& arguments) {
  if (arguments.fault.find('=') == std::string::npos) return;
  for (auto& parameter : arguments.parameters)
    if (parameter.find('=') == std::string::npos) return std::swap(parameter, arguments.fault);
}

class CommandLine {
 public:
  CommandLine() {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string("squall ") + SQUALL_VERSION);
    app_.footer(footer);
    app_.option_defaults()->always_capture_default(false);
    add_drills();
    add_faults();
    add_hosts();
    add_reports();
    add_proxy();
    add_serve();
    app_.add_subcommand("help", "this text, a command's, or a fault's: squall help COMMAND")
        ->add_option("command", topic_, "the command, or the fault")
        ->type_name("COMMAND");
  }

  int run(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    command_first(words);
    if (const auto unknown = unknown_command(words); !unknown.empty()) {
      complain(unknown);
      return exit_input;
    }
    try {
      app_.parse(
          std::vector<std::string>(words.rbegin(), words.rend()));  // it takes the last word for the first
    } catch (const CLI::CallForHelp& e) {
      return app_.exit(e);
    } catch (const CLI::CallForVersion& e) {
      return app_.exit(e);
    } catch (const CLI::ParseError& e) {
      const auto known = words.empty() ? nullptr : command_called(words.front());
      complain(fmt::format("{}; `squall help{}` tells {}", e.what(), known ? " " + words.front() : "",
                           known ? "how it is used" : "the commands"));
      return exit_input;
    }
    faults_first(arguments_);
    if (app_.got_subcommand("help")) return help();
    try {
      return command_ ? carry_out(words.front()) : exit_input;
    } catch (const std::system_error& e) {
      if (e.code() != std::errc::broken_pipe) throw;
      return command_ == inject_command ? exit_could_not_run
                                        : exit_pass;  // the reader has had enough: squall … | head
    }
  }

 private:
  const CLI::App* command_called(const std::string& name) const {
    for (auto* sub : app_.get_subcommands([](auto*) { return true; }))
      if (sub->get_name() == name) return sub;
    return nullptr;
  }

  std::string unknown_command(const std::vector<std::string>& words) const {
    if (words.empty() || words.front().starts_with("-") || command_called(words.front())) return "";
    std::vector<std::string> names;
    for (auto* sub : app_.get_subcommands([](auto*) { return true; }))
      names.push_back(sub->get_name());
    const auto close = nearest(words.front(), names);
    return fmt::format("no command is called {}{}; `squall help` tells them", quote(words.front()),
                       close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close));
  }

  using Command = int (*)(const Arguments&);

  CLI::App* add(const char* name, const char* sentence, Command command) {
    auto* sub = app_.add_subcommand(name, sentence);
    sub->callback([this, command] { command_ = command; });
    sub->add_option("--output", arguments_.output, "text for people, json for machines")
        ->check(CLI::IsMember({"text", "json"}));
    sub->add_option("--color", arguments_.color, "auto, always or never (NO_COLOR is respected)")
        ->check(CLI::IsMember({"auto", "always", "never"}));
    sub->add_option("--log-file", arguments_.log_file,
                    "a file that links to hosts, what was refused and the outcome are appended to")
        ->type_name("FILE");
    sub->add_option("--log-level", arguments_.log_level, "debug, info, warning, error or off")
        ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
    return sub;
  }

  // The hosts' own logs are told by their injectors, and guardians, whatever is asked for here.
  int carry_out(const std::string& name) {
    if (const auto error = open_log({"squall", arguments_.log_level, arguments_.log_file, ""});
        !error.empty()) {
      complain(error);
      return exit_input;
    }
    log_line(LogLevel::info, fmt::format("{} begins", name));
    const int code = command_(arguments_);
    log_line(LogLevel::info, fmt::format("{} ends with exit code {}", name, code));
    return code;
  }
  void with_landscape(CLI::App* sub) {
    sub->add_option("--landscape", arguments_.landscape,
                    "the landscape file (default: landscape.yaml beside the scenario)")
        ->type_name("FILE");
  }
  void with_state(CLI::App* sub) {
    sub->add_option("--state", arguments_.state, "where the injector keeps its journal")->type_name("DIR");
  }
  void with_host(CLI::App* sub) {
    sub->add_option("--host", arguments_.host, "a host of the landscape (default: this one)")
        ->type_name("NAME");
    with_landscape(sub);
    with_state(sub);
  }
  void with_hosts(CLI::App* sub) {
    with_host(sub);
    sub->add_flag("--all", arguments_.all,
                  "every host of the landscape (default: landscape.yaml), as where --landscape is given "
                  "without --host");
  }
  void with_seed(CLI::App* sub) {
    sub->add_option("--seed", arguments_.seed, "the same seed repeats the drill")->type_name("N");
  }

  void add_drills() {
    auto* run =
        add("run", "run a drill with live progress, write its reports, end with the verdict", run_command);
    run->add_option("file", arguments_.files, "scenarios, or folders of them, one after another")
        ->required()
        ->type_name("FILE");
    run->add_option("--junit", arguments_.junit, "write junit.xml there too")->type_name("FILE");
    run->add_option("--markdown", arguments_.markdown, "write the Markdown report there too")
        ->type_name("FILE");
    run->add_option("--runs", arguments_.runs, "where the run's folder is made")->type_name("DIR");
    run->add_flag("--until-eof", arguments_.until_eof,
                  "halt when standard input ends: the drill does not outlive what started it");
    with_landscape(run), with_state(run), with_seed(run);

    auto* plan =
        add("plan", "say host by host what would be done and how it would be undone; changes nothing",
            plan_command);
    plan->add_option("file", arguments_.files, "scenarios, or folders of them")
        ->required()
        ->type_name("FILE");
    with_landscape(plan), with_state(plan), with_seed(plan);

    auto* check = add("check", "validate scenarios and landscapes", check_command);
    check->add_option("file", arguments_.files, "scenarios or landscapes, or folders of them")
        ->type_name("FILE");
    check->add_flag("--live", arguments_.live,
                    "ask the alert sources too, whether they know the alerts that are expected");
    check
        ->add_option("--schema", arguments_.schema,
                     "print the JSON Schema that editors use: scenario or landscape")
        ->expected(0, 1)
        ->default_str("scenario")
        ->check(CLI::IsMember({"scenario", "landscape"}));
    with_landscape(check);

    auto* halt =
        add("halt", "stop a running drill of this account from any terminal, and wait until it is undone",
            halt_command);
    halt->add_option("name", arguments_.files, "which, where several are running: a scenario, a run or a pid")
        ->type_name("NAME");
    halt->add_flag("--all", arguments_.all, "every one");
    auto* runs = add("runs", "the drills that are running, and those that are kept", runs_command);
    runs->add_option("--runs", arguments_.runs, "where runs are kept")->type_name("DIR");
  }

  void add_faults() {
    auto* inject = add("inject", "one fault by hand, with its measured dose, undone at the end or on Ctrl-C",
                       inject_command);
    inject->add_option("fault", arguments_.fault, "its name, such as network.delay")
        ->required()
        ->type_name("FAULT");
    inject
        ->add_option("parameters", arguments_.parameters,
                     "its parameters, such as delay=80ms; lists as port=7001,7002")
        ->type_name("key=value");
    inject
        ->add_option("--on", arguments_.on,
                     "what it is aimed at, such as interface=eth0; without it a packet fault takes every "
                     "interface, tcp.* and http.* every connection that this host makes")
        ->type_name("key=value")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    inject->add_option("--for", arguments_.lasts, "how long, such as 30s")->type_name("DURATION");
    inject->add_flag("--plan", arguments_.only_plan,
                     "say what would be done and how it would be undone; changes nothing");
    with_host(inject), with_seed(inject);

    auto* faults = add("faults", "the catalogue of faults, or one of them in full", faults_command);
    faults->add_option("name", arguments_.fault, "a fault")->type_name("NAME");
  }

  void add_hosts() {
    with_hosts(add("doctor",
                   "which faults a host can take, by which mechanism, and what is missing for the others",
                   doctor_command));
    with_hosts(add("status", "what is in force on a host, or on all of a landscape", status_command));
    with_hosts(add(
        "undo",
        "undo all that is in force on a host, or on all of a landscape, now; the drill that did it is halted",
        undo_command));
  }

  void add_reports() {
    auto* report = add("report", "render a run's report again", report_command);
    report->add_option("run", arguments_.files, "the run's folder")
        ->required()
        ->expected(1)
        ->type_name("RUN");
    report->add_option("--format", arguments_.format, "terminal, html, json, junit or markdown")
        ->check(CLI::IsMember({"terminal", "html", "json", "junit", "markdown"}));
    report->add_option("--runs", arguments_.runs, "where runs are kept")->type_name("DIR");

    auto* compare = add("compare", "compare two runs", compare_command);
    compare->add_option("runs", arguments_.files, "the two runs' folders, the earlier one first")
        ->type_name("RUN");
    compare->add_option("--runs", arguments_.runs, "where runs are kept")->type_name("DIR");
  }

  void add_proxy() {
    auto* proxy =
        add("toxiproxy", "a TCP proxy with faults, under toxiproxy's HTTP API: its clients work unchanged",
            toxiproxy_command);
    proxy->add_option("--listen", arguments_.listen, "where the API listens (default localhost:8474)")
        ->type_name("HOST:PORT");
    proxy->add_option("--config", arguments_.config, "proxies to begin with, as toxiproxy's JSON")
        ->type_name("FILE");
    proxy->add_flag("--proxy-metrics", arguments_.metrics,
                    "GET /metrics tells the bytes of each proxy, for Prometheus");
    with_seed(proxy);
  }

  void add_serve() {
    auto* serve = add("serve",
                      "a daemon for squads: drills that come by themselves, who may do what, one live page; "
                      "controller/serve/README.md tells its files",
                      serve_command);
    serve
        ->add_option("--drills", arguments_.drills, "the folder with landscape, scenarios, schedules, people")
        ->type_name("DIR");
    serve->add_option("--listen", arguments_.serve_at, "where it listens (default 127.0.0.1:8475)")
        ->type_name("HOST:PORT");
    serve->add_option("--store", arguments_.store, "where it remembers (default STATE/serve/store.sqlite)")
        ->type_name("sqlite:PATH");
    serve
        ->add_option("--name", arguments_.names,
                     "a name by which browsers reach it, such as squall.example:443")
        ->type_name("HOST[:PORT]");
    serve->add_flag("--allow-commands", arguments_.allow_commands,
                    "scenarios may have command probes, which run with the daemon's rights");
    serve->add_flag("--new-token", arguments_.new_token, "make a token, print it and its hash, and end");
    with_state(serve);

    auto* schedule =
        add("schedule", "list a daemon's schedules, tell their next ten occurrences, pause or resume one",
            schedule_command);
    schedule->add_option("what", arguments_.files, "list, next [NAME], pause NAME, resume NAME")
        ->required()
        ->expected(1, 2)
        ->type_name("WHAT [NAME]");
    schedule->add_option("--server", arguments_.server, "the daemon (default http://127.0.0.1:8475)")
        ->type_name("URL");
    schedule
        ->add_option("--token-file", arguments_.token_file,
                     "whose first line is your token (default: the environment's SQUALL_TOKEN)")
        ->type_name("FILE");
  }

  // The keys of a file, or every fault of a family.
  bool help_beside_commands() {
    if (topic_ == "scenario" || topic_ == "landscape") {
      print_keys(topic_, topic_ == "scenario" ? Describe<Scenario>::object().fields()
                                              : Describe<Landscape>::object().fields());
      return true;
    }
    std::vector<const FaultType*> family;
    for (auto* fault : fault_catalogue())
      if (fault->name.starts_with(topic_ + ".")) family.push_back(fault);
    for (auto* fault : family)
      fmt::print("{:<24}  {}\n", fault->name, fault->sentence);
    if (!family.empty()) fmt::print("\n`squall help NAME` tells the parameters of one.\n");
    return !family.empty();
  }

  static void print_keys(const std::string& what, const std::vector<FieldDoc>& fields) {
    fmt::print("the keys of a {}\n", what);
    for (auto& field : fields)
      fmt::print("  {:<14} {}{}{}\n", field.name, field.sentence, field.required ? ", required" : "",
                 field.default_text.empty() ? "" : ", default " + field.default_text);
    fmt::print("\n`squall check --schema={}` prints all of it for editors.\n", what);
  }

  int help() {
    if (topic_.empty()) {
      // Not app_.help(): that is the help of the command just parsed, which is "help".
      fmt::print("{}", app_.get_formatter()->make_help(&app_, app_.get_name(), CLI::AppFormatMode::Normal));
      return exit_pass;
    }
    if (topic_.find('.') != std::string::npos) {
      arguments_.fault = topic_;
      return faults_command(arguments_);
    }
    if (!command_called(topic_) && help_beside_commands()) return exit_pass;
    try {
      fmt::print("{}", app_.get_subcommand(topic_)->help(app_.get_name()));
      return exit_pass;
    } catch (const CLI::OptionNotFound&) {
      complain(fmt::format("no command is called \"{}\"; `squall help` tells them", topic_));
      return exit_input;
    }
  }

  CLI::App app_{
      "Squall injects failures into Linux hosts, measures what they did, tells how services and alerts\n"
      "responded, and puts everything back.",
      "squall"};
  Arguments arguments_;
  std::string topic_;
  Command command_ = nullptr;
};

}  // namespace

int command_line(int argc, char** argv) {
  try {
    return CommandLine{}.run(argc, argv);
  } catch (const std::exception& e) {
    complain(e.what());
    return exit_could_not_run;
  }
}

}  // namespace squall
