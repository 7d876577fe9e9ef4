// `squall schedule`: asks a daemon for its schedules, and pauses them.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include "controller/commands/input.hpp"
#include "controller/http/client.hpp"
#include "scenarios/text/text.hpp"

namespace squall {
namespace {

namespace json = boost::json;

// SQUALL_TOKEN, or the first line of --token-file; never an argument, which others on the host can read.
std::string token_of(const Arguments& arguments) {
  std::string out;
  if (!arguments.token_file.empty()) {
    std::ifstream in{arguments.token_file};
    std::getline(in, out);
  } else if (const char* set = std::getenv("SQUALL_TOKEN")) {
    out = set;
  }
  return out;
}

http::Answer ask(const Arguments& arguments, const std::string& method, const std::string& path) {
  boost::asio::io_context io;
  http::Client client{io};
  http::Request request;
  request.url = arguments.server + path;
  request.method = method;
  request.headers = {"Authorization: Bearer " + token_of(arguments), "Accept: application/json"};
  request.largest_answer = 16 << 20;
  http::Answer out;
  client.get(request, [&](http::Answer answer) { out = std::move(answer), io.stop(); });
  io.run();
  return out;
}

std::string text(const json::value& in, std::string_view key) {
  const auto* member = in.as_object().if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : std::string();
}

void print_list(const json::array& schedules) {
  for (auto& one : schedules) {
    const auto& next = one.at("next").as_array();
    const auto paused = text(one, "paused_by");
    fmt::print("{:<24} {:<24} {:<18} {:<22} {}\n", text(one, "schedule"), text(one, "drill"),
               text(one, "cron"), text(one, "time_zone"),
               !paused.empty() ? "paused by " + paused
               : next.empty()  ? "never"
                               : text(next.front(), "local"));
  }
}

void print_next(const json::array& schedules, const std::string& name) {
  for (auto& one : schedules) {
    if (!name.empty() && text(one, "schedule") != name) continue;
    for (auto& next : one.at("next").as_array()) {
      const auto why = text(next, "skipped_since");
      fmt::print("{:<24} {:<28} {}{}\n", text(one, "schedule"), text(next, "local"), text(next, "starts_at"),
                 why.empty() ? "" : "  skipped: " + why);
    }
  }
}

int failed(const Arguments& arguments, const http::Answer& answer) {
  json::error_code wrong;
  const auto told = json::parse(answer.body, wrong);
  const auto why = !wrong && told.is_object() ? text(told, "error") : "";
  complain(fmt::format("{}: {}", arguments.server,
                       !answer.ok    ? answer.error
                       : why.empty() ? fmt::format("status {}", answer.status)
                                     : why));
  return !answer.ok ? exit_could_not_run : exit_input;
}

}  // namespace

int schedule_command(const Arguments& arguments) {
  const auto& what = arguments.files.at(0);
  const auto name = arguments.files.size() > 1 ? arguments.files[1] : "";
  if (what != "list" && what != "next" && what != "pause" && what != "resume") {
    complain(fmt::format("expected list, next, pause or resume, got {}", quote(what)));
    return exit_input;
  }
  const bool changes = what == "pause" || what == "resume";
  const auto problem = url_problem(arguments.server);
  if (!problem.empty() || (changes && (name.empty() || !slug_problem(name).empty()))) {
    complain(problem.empty() ? fmt::format("squall schedule {} NAME: which one?", what)
                             : "--server: " + problem);
    return exit_input;
  }
  const auto answer = changes ? ask(arguments, "POST", fmt::format("/api/v1/schedules/{}/{}", name, what))
                              : ask(arguments, "GET", "/api/v1/schedules");
  if (!answer.ok || answer.status != 200) return failed(arguments, answer);
  json::error_code wrong;
  const auto told = json::parse(answer.body, wrong);
  if (wrong || (!changes && !told.is_array())) {
    complain(arguments.server + ": its answer is not understood");
    return exit_could_not_run;
  }
  if (arguments.json())
    fmt::print("{}", answer.body);
  else if (changes)
    fmt::print("{} is {}\n", name, what == "pause" ? "paused" : "resumed");
  else if (what == "next")
    print_next(told.get_array(), name);
  else
    print_list(told.get_array());
  return exit_pass;
}

}  // namespace squall
