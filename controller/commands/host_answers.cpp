#include "controller/commands/host_answers.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "controller/hosts/far_command.hpp"

namespace squall {
namespace {

namespace json = boost::json;

std::string text(const json::object& in, const char* key) {
  const auto* value = in.if_contains(key);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

json::array list(const json::object& in, const char* key) {
  const auto* value = in.if_contains(key);
  return value && value->is_array() ? value->get_array() : json::array{};
}

// What each verb always says.
const char* mark_of(std::string_view verb, bool as_json) {
  if (verb == "doctor") return as_json ? "[{\"" : "process.kill";
  if (verb == "status") return as_json ? "{\"active\"" : "";
  return as_json ? "{\"clean\"" : "";
}

std::string status_text(const json::object& told, const std::string& host) {
  std::string out;
  for (auto& item : list(told, "active")) {
    if (!item.is_object()) continue;
    auto& fault = item.get_object();
    const auto* alive = fault.if_contains("owner_alive");
    const bool held = alive && alive->is_bool() && alive->get_bool();
    const auto until = text(fault, "until");
    out +=
        fmt::format("{} ({}) by {}\n", text(fault, "step"), text(fault, "fault"), text(fault, "mechanism"));
    out += !held ? "  its injector is dead: `squall undo` puts it back\n"
                 : fmt::format("  held by the run \"{}\", until {}\n", text(fault, "run"),
                               until.empty() ? "it is undone" : until);
    for (auto& undo : list(fault, "undo"))
      if (undo.is_string()) out += fmt::format("  undo: {}\n", std::string(undo.get_string()));
  }
  return out.empty() ? fmt::format("nothing is in force on {}\n", host) : out;
}

std::string undo_text(const json::object& told, const std::string& host) {
  std::string out;
  for (auto& item : list(told, "costs"))
    if (item.is_object())
      out += fmt::format("when the injector of \"{}\" died: {}\n", text(item.get_object(), "step"),
                         text(item.get_object(), "text"));
  const auto left = list(told, "left");
  if (!left.empty()) out += fmt::format("{} could not be restored completely\n", host);
  for (auto& item : left)
    if (item.is_object())
      out += fmt::format("  left by \"{}\": {}\n  by hand: {}\n", text(item.get_object(), "step"),
                         text(item.get_object(), "detail"), text(item.get_object(), "by_hand"));
  if (!left.empty()) return out;
  const auto* sessions = told.if_contains("sessions");
  const bool any = sessions && sessions->is_number() && sessions->to_number<double>() > 0;
  return out + (any ? fmt::format("undone; nothing of ours is left on {}\n", host)
                    : fmt::format("nothing is in force on {}\n", host));
}

}  // namespace

Answer understand(const Finished& done, std::string_view verb, bool as_json, std::chrono::seconds patience) {
  Answer out{.problem = {}, .exit_code = done.exit_code, .out = done.out, .err = done.err, .told = {}};
  const auto words = in_one_line(done.out + "\n" + done.err);
  if (done.late) {
    out.problem = fmt::format("no answer within {} s{}", patience.count(), words.empty() ? "" : ": " + words);
    return out;
  }
  const bool expected = done.exit_code == 0 || done.exit_code == 6;
  const auto at = done.out.find(mark_of(verb, as_json));
  boost::system::error_code broken;
  if (expected && at != done.out.npos && as_json) {
    out.told = json::parse(std::string_view(done.out).substr(at), broken);
    out.out = done.out.substr(at);
  }
  if (expected && at != done.out.npos && !broken) return out;
  if (!as_json && done.exit_code > 0 && done.exit_code <= 6) return out;  // it says why by itself
  out.problem = words.empty()
                    ? fmt::format("`squall-injector {}` ended with exit code {}", verb, done.exit_code)
                : expected ? fmt::format("what answered there is no injector; it printed \"{}\"", words)
                           : words;
  return out;
}

std::string text_of_answer(std::string_view verb, const json::value& told, const std::string& host) {
  if (!told.is_object()) return json::serialize(told) + "\n";
  if (verb == "status") return status_text(told.get_object(), host);
  return verb == "undo" ? undo_text(told.get_object(), host) : json::serialize(told) + "\n";
}

std::string indented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    out += fmt::format("  {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace squall
