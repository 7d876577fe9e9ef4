// Commands about hosts, one or all of a landscape at once: doctor, status, undo.
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json.hpp>

#include "controller/commands/host_answers.hpp"
#include "controller/commands/input.hpp"
#include "controller/engine/together.hpp"
#include "controller/hosts/far_command.hpp"
#include "controller/hosts/link.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

struct Question {
  const char* verb;
  bool privileged;
  std::chrono::seconds patience;
};

struct Asked {
  ChosenHost host;
  Answer answer;
};

asio::awaitable<void> ask(asio::io_context& io, const Arguments& arguments, const Question& question,
                          bool as_json, Asked& asked) {
  LinkOptions options;
  options.state = arguments.state;
  options.privileged = question.privileged;
  std::vector<std::string> more;
  if (as_json) more = {"--output", "json"};
  try {
    const auto done = co_await run_beside(io, injector_command(asked.host.spec, options, question.verb, more),
                                          question.patience);
    asked.answer = understand(done, question.verb, as_json, question.patience);
  } catch (const std::exception& e) {
    asked.answer.problem = e.what();
  }
}

// False where a signal came first.
bool ask_all(const Arguments& arguments, const Question& question, bool as_json, std::vector<Asked>& all) {
  asio::io_context io;
  asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  bool done = false;
  signals.async_wait([&](auto error, int) {
    if (!error) io.stop();
  });
  asio::co_spawn(
      io, together(io, all, [&](Asked& asked) { return ask(io, arguments, question, as_json, asked); }),
      [&](std::exception_ptr) {
        done = true;
        io.stop();
      });
  io.run();
  return done;
}

// The worst: a host that is not as found before one that could not be asked, before all else.
int worse(int one, int other) {
  auto rank = [](int code) {
    return code == exit_not_restored ? 100 : code == exit_could_not_run ? 99 : code;
  };
  return rank(one) > rank(other) ? one : other;
}

int tell_one(const Arguments& arguments, const Question& question, bool as_json, const Asked& asked) {
  auto& answer = asked.answer;
  if (answer.problem.empty()) {
    if (as_json && !arguments.json())
      fmt::print("{}", text_of_answer(question.verb, answer.told, asked.host.name));
    else
      fmt::print("{}", answer.out);
    fmt::print(stderr, "{}", answer.err);
    return answer.exit_code;
  }
  if (arguments.json())
    fmt::print("{}\n", json::serialize(json::object{{"host", asked.host.name}, {"error", answer.problem}}));
  complain(fmt::format("reach the host {}: {}", asked.host.name, answer.problem));
  return exit_could_not_run;
}

int tell_all(const Arguments& arguments, const Question& question, const std::vector<Asked>& all) {
  int code = exit_pass;
  json::array lines;
  for (auto& asked : all) {
    const bool ok = asked.answer.problem.empty();
    code = worse(code, ok ? asked.answer.exit_code : exit_could_not_run);
    if (arguments.json()) {
      json::object line{{"host", asked.host.name},
                        {"exit_code", ok ? asked.answer.exit_code : exit_could_not_run}};
      if (ok)
        line["answer"] = asked.answer.told;
      else
        line["error"] = asked.answer.problem;
      lines.push_back(std::move(line));
      continue;
    }
    fmt::print("{}\n", asked.host.name);
    const auto text = !ok ? fmt::format("could not be asked: {}\n", asked.answer.problem)
                      : asked.answer.told.is_null()
                          ? asked.answer.out
                          : text_of_answer(question.verb, asked.answer.told, asked.host.name);
    fmt::print("{}", indented(ok ? text + asked.answer.err : text));
  }
  if (arguments.json()) fmt::print("{}\n", json::serialize(lines));
  return code;
}

// Somebody who stands beside a landscape may have meant its hosts.
void say_which_host(const Arguments& arguments) {
  std::error_code missing;
  if (arguments.json() || !arguments.host.empty() ||
      !std::filesystem::is_regular_file("landscape.yaml", missing))
    return;
  auto beside = arguments;
  beside.all = true;
  const auto chosen = choose_hosts(beside);
  if (chosen.error.empty() && chosen.of_landscape)
    fmt::print(stderr, "only this host was asked; --all asks the {} host{} of landscape.yaml\n",
               chosen.hosts.size(), chosen.hosts.size() == 1 ? "" : "s");
}

int about_hosts(const Arguments& arguments, const Question& question) {
  const auto chosen = choose_hosts(arguments);
  if (!chosen.error.empty()) {
    fmt::print(stderr, "{}", chosen.error);
    return exit_input;
  }
  std::vector<Asked> all;
  for (auto& host : chosen.hosts)
    all.push_back({host, {}});
  // What a far host says is taken for an answer only where it is one: somebody's login may print anything.
  const bool far = all.size() > 1 || all.front().host.spec.link != HostSpec::Link::local;
  const bool as_json = arguments.json() || (far && std::string_view(question.verb) != "doctor");
  if (!ask_all(arguments, question, as_json, all)) {
    complain("interrupted");
    return exit_halted;
  }
  if (all.size() > 1) return tell_all(arguments, question, all);
  const int code = tell_one(arguments, question, as_json, all.front());
  if (!chosen.of_landscape && std::string_view(question.verb) != "doctor") say_which_host(arguments);
  return code;
}

// The journal belongs to root; where it can be read without sudo, no sudo is asked for.
bool can_read(const std::string& state) {
  return ::access((state + "/journal").c_str(), R_OK | X_OK) == 0;
}

}  // namespace

int status_command(const Arguments& arguments) {
  return about_hosts(arguments, {"status", !can_read(arguments.state), std::chrono::seconds{20}});
}
int undo_command(const Arguments& arguments) {
  return about_hosts(arguments, {"undo", true, std::chrono::seconds{60}});
}
int doctor_command(const Arguments& arguments) {
  return about_hosts(arguments, {"doctor", false, std::chrono::seconds{60}});
}

}  // namespace squall
