#include "controller/command_line.hpp"

#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "controller/commands/input.hpp"

namespace squall {
namespace {

constexpr const char* footer = R"(
exit codes
  0 pass   1 fail   2 the input is wrong   3 inconclusive   4 halted   5 could not run
  6 a host is not as found (the message says what is left and how to remove it, or what others changed)

A first look:  squall plan FILE     what would be done, host by host; changes nothing
               squall doctor        which faults this host can take
               squall help FAULT    a fault's parameters)";

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
    app_.add_subcommand("help", "this text, a command's, or a fault's: squall help COMMAND")
        ->add_option("command", topic_, "the command, or the fault")
        ->type_name("COMMAND");
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
      return app_.exit(e);
    } catch (const CLI::CallForVersion& e) {
      return app_.exit(e);
    } catch (const CLI::ParseError& e) {
      complain(std::string(e.what()) + "; `squall help` tells the commands");
      return exit_input;
    }
    if (app_.got_subcommand("help")) return help();
    return command_ ? command_(arguments_) : exit_input;
  }

 private:
  using Command = int (*)(const Arguments&);

  CLI::App* add(const char* name, const char* sentence, Command command) {
    auto* sub = app_.add_subcommand(name, sentence);
    sub->callback([this, command] { command_ = command; });
    sub->add_option("--output", arguments_.output, "text for people, json for machines")
        ->check(CLI::IsMember({"text", "json"}));
    sub->add_option("--color", arguments_.color, "auto, always or never (NO_COLOR is respected)")
        ->check(CLI::IsMember({"auto", "always", "never"}));
    return sub;
  }
  void with_landscape(CLI::App* sub) {
    sub->add_option("--landscape", arguments_.landscape, "the landscape file (default: landscape.yaml beside the scenario)")
        ->type_name("FILE");
  }
  void with_state(CLI::App* sub) {
    sub->add_option("--state", arguments_.state, "where the injector keeps its journal")->type_name("DIR");
  }
  void with_host(CLI::App* sub) {
    sub->add_option("--host", arguments_.host, "a host of the landscape (default: this one)")->type_name("NAME");
    with_landscape(sub);
    with_state(sub);
  }
  void with_seed(CLI::App* sub) {
    sub->add_option("--seed", arguments_.seed, "the same seed repeats the drill")->type_name("N");
  }

  void add_drills() {
    auto* run = add("run", "run a drill with live progress, write its reports, end with the verdict", run_command);
    run->add_option("file", arguments_.files, "the scenario")->required()->expected(1)->type_name("FILE");
    run->add_option("--runs", arguments_.runs, "where the run's folder is made")->type_name("DIR");
    with_landscape(run), with_state(run), with_seed(run);

    auto* plan = add("plan", "say host by host what would be done and how it would be undone; changes nothing", plan_command);
    plan->add_option("file", arguments_.files, "the scenario")->required()->expected(1)->type_name("FILE");
    with_landscape(plan), with_state(plan), with_seed(plan);

    auto* check = add("check", "validate scenarios and landscapes", check_command);
    check->add_option("file", arguments_.files, "scenarios or landscapes")->type_name("FILE");
    check->add_option("--schema", arguments_.schema, "print the JSON Schema that editors use: scenario or landscape")
        ->expected(0, 1)
        ->default_str("scenario")
        ->check(CLI::IsMember({"scenario", "landscape"}));
    with_landscape(check);

    add("halt", "stop every running drill of this user at once, from any terminal", halt_command);
  }

  void add_faults() {
    auto* inject = add("inject", "one fault by hand, with its measured dose, undone at the end or on Ctrl-C", inject_command);
    inject->add_option("fault", arguments_.fault, "its name, such as network.delay")->required()->type_name("FAULT");
    inject->add_option("parameters", arguments_.parameters, "its parameters, such as delay=80ms; lists as port=7001,7002")->type_name("key=value");
    inject->add_option("--on", arguments_.on, "what it is aimed at, such as interface=eth0; without it a packet fault takes every interface, tcp.* and http.* every connection that this host makes")
        ->type_name("key=value")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    inject->add_option("--for", arguments_.lasts, "how long, such as 30s")->type_name("DURATION");
    inject->add_flag("--plan", arguments_.only_plan, "say what would be done and how it would be undone; changes nothing");
    with_host(inject), with_seed(inject);

    auto* faults = add("faults", "the catalogue of faults, or one of them in full", faults_command);
    faults->add_option("name", arguments_.fault, "a fault")->type_name("NAME");
  }

  void add_hosts() {
    with_host(add("doctor", "which faults a host can take, by which mechanism, and what is missing for the others", doctor_command));
    with_host(add("status", "what is in force on a host", status_command));
    with_host(add("undo", "undo all that is in force on a host, now; the drill that did it is halted", undo_command));
  }

  void add_reports() {
    auto* report = add("report", "render a run's report again", report_command);
    report->add_option("run", arguments_.files, "the run's folder")->required()->expected(1)->type_name("RUN");
    report->add_option("--format", arguments_.format, "terminal, html, json, junit or markdown")
        ->check(CLI::IsMember({"terminal", "html", "json", "junit", "markdown"}));
    report->add_option("--runs", arguments_.runs, "where runs are kept")->type_name("DIR");

    auto* compare = add("compare", "compare two runs", compare_command);
    compare->add_option("runs", arguments_.files, "the two runs' folders")->required()->expected(2)->type_name("RUN");
    compare->add_option("--runs", arguments_.runs, "where runs are kept")->type_name("DIR");
  }

  void add_proxy() {
    auto* proxy = add("toxiproxy", "a TCP proxy with faults, under toxiproxy's HTTP API: its clients work unchanged", toxiproxy_command);
    proxy->add_option("--listen", arguments_.listen, "where the API listens (default localhost:8474)")->type_name("HOST:PORT");
    proxy->add_option("--config", arguments_.config, "proxies to begin with, as toxiproxy's JSON")->type_name("FILE");
    proxy->add_flag("--proxy-metrics", arguments_.metrics, "GET /metrics tells the bytes of each proxy, for Prometheus");
    with_seed(proxy);
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
    try {
      fmt::print("{}", app_.get_subcommand(topic_)->help(app_.get_name()));
      return exit_pass;
    } catch (const CLI::OptionNotFound&) {
      complain(fmt::format("no command is called \"{}\"; `squall help` tells them", topic_));
      return exit_input;
    }
  }

  CLI::App app_{"Squall injects failures into Linux hosts, measures what they did, tells how services and alerts\n"
                "responded, and puts everything back.", "squall"};
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
