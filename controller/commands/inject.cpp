// One fault by hand: applied, its measured dose shown while it lasts, undone at the end or on Ctrl-C.
#include <cstdio>

#include <unistd.h>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/commands/one_host.hpp"
#include "controller/commands/told_plan.hpp"
#include "controller/hosts/child.hpp"
#include "injector/faults/fault.hpp"
#include "injector/session/protocol.hpp"
#include "injector/session/request.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

namespace json = boost::json;

struct Wanted {
  json::object with, on;
  std::optional<SampleFile> samples;
  std::int64_t for_ns = 0;
  std::string errors;
};

// Which argument each value comes from, as the line of its place, so that what is wrong with one can name it.
void number(Value& value, std::string name, std::vector<std::string>& names) {
  names.push_back(name);
  value.place = {static_cast<int>(names.size()), 1};
  for (auto& item : value.items)
    item.place = value.place;
  for (auto& member : value.members)
    number(member.value, name.empty() ? member.key : name + (name.ends_with(' ') ? "" : ".") + member.key,
           names);
}

Diagnostics with_names(const Diagnostics& wrong, const std::vector<std::string>& names) {
  Diagnostics out{wrong.name()};
  for (auto& error : wrong.errors()) {
    const auto name = error.place.line > 0 ? names.at(static_cast<std::size_t>(error.place.line) - 1) : "";
    out.error(
        {}, name.empty() || name.ends_with(' ') ? error.message : fmt::format("{}: {}", name, error.message));
  }
  return out;
}

Wanted parse(const Arguments& arguments, const FaultType& fault) {
  Wanted out;
  Diagnostics wrong{std::string(fault.name)};
  auto with = parameters_of(arguments.parameters, *fault.parameters, wrong);
  auto on = from_arguments(arguments.on, wrong);
  std::vector<std::string> names;
  number(with, "", names);
  number(on, "--on ", names);
  std::string of_samples;
  if (wrong.ok()) {
    fault.parameters->check(with, wrong);
    out.samples = put_samples_inline(with, *fault.parameters, "", wrong, of_samples);
    TargetSpec target;
    Describe<TargetSpec>::object().decode(on, target, wrong);
    for (auto& member : on.members)
      if (std::find(fault.aims.begin(), fault.aims.end(), member.key) == fault.aims.end())
        wrong.error({}, fmt::format("{} cannot be aimed with \"{}\"", fault.name, member.key));
  }
  if (arguments.lasts.empty()) {
    if (fault.lasting) wrong.error({}, "expected --for DURATION: how long the fault is to last");
    out.for_ns = fault.lasting ? 0 : 10'000'000'000;
  } else if (auto lasts = parse_duration(arguments.lasts); lasts) {
    out.for_ns = lasts->ns;
    if (lasts->ns == 0) wrong.error({}, "--for: expected more than 0s");
  } else {
    wrong.error({}, "--for: " + lasts.error());
  }
  out.errors = with_names(wrong, names).render() + of_samples;
  out.with = to_json(with).as_object();
  out.on = to_json(on).as_object();
  return out;
}

std::string dose_text(const json::value& dose) {
  if (!dose.is_object()) return "";
  auto& object = dose.get_object();
  auto part = [&](const char* key) {
    std::string out;
    auto* member = object.if_contains(key);
    if (!member || !member->is_object()) return out;
    auto* asked = object.if_contains("prescribed");
    for (auto& [name, value] : member->get_object()) {
      auto* prescribed = asked && asked->is_object() ? asked->get_object().if_contains(name) : nullptr;
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", text::dose_name(name),
                         text::dose_value(name, value, prescribed));
    }
    return out.empty() ? std::string("nothing yet") : out;
  };
  auto* verified = object.if_contains("verified");
  const bool seen = verified && verified->is_bool() && verified->get_bool();
  std::string out = fmt::format("prescribed {} | measured {} | {}", part("prescribed"), part("measured"),
                                seen ? "verified" : "not verified");
  auto* shares = object.if_contains("shares");
  auto* witness = object.if_contains("witness");
  if (seen)
    if (const auto met =
            text::what_met(shares && shares->is_array() ? shares->get_array() : json::array{},
                           witness && witness->is_object() ? witness->get_object() : json::object{});
        !met.empty())
      out += "; " + met;
  auto* reason = object.if_contains("reason");
  if (!seen && reason && reason->is_string() && !reason->get_string().empty())
    out += ": " + std::string(reason->get_string());
  return out;
}

std::string left_text(const json::value* left) {
  std::string out;
  if (!left || !left->is_array()) return out;
  for (auto& item : left->get_array()) {
    auto* object = item.if_object();
    if (!object) continue;
    auto text = [&](const char* key) {
      auto* member = object->if_contains(key);
      return member && member->is_string() ? std::string(member->get_string()) : "";
    };
    out += fmt::format("  left: {}\n  by hand: {}\n", text("detail"), text("by_hand"));
  }
  return out;
}

bool is_true(const json::object& object, const char* key) {
  auto* member = object.if_contains(key);
  return member && member->is_bool() && member->get_bool();
}

// One injection from hello to bye.
class Injection {
 public:
  Injection(const Arguments& arguments, const ChosenHost& host, const Wanted& wanted)
      : arguments_(arguments),
        wanted_(wanted),
        spec_(host.spec),
        host_(arguments, host, !arguments.only_plan),
        name_(host.name) {
    host_.on_event = [this](const json::object& event) { hear(event); };
    host_.on_silence = [this](auto for_how_long) { look_after_it(for_how_long); };
  }

  int run() {
    const auto hello = host_.ask({{"do", "hello"}, {"version", 1}, {"run", "inject"}});
    if (int code = refused(hello, "reach"); code) return code;
    session_ = text_of(*hello, "session");
    if (int code = refused(host_.ask({{"do", "snapshot"}}), "take a snapshot of"); code) return code;
    auto request = about_the_fault("apply");
    request["step"] = "inject";
    request["for_ns"] = wanted_.for_ns;
    auto applied = host_.ask(std::move(request), one_more);
    if (!applied && applied.error().kind == "lost") return tell_lost();  // it may be in force
    if (int code = refused(applied, fmt::format("apply {} on", arguments_.fault)); code) return code;
    applied_ = std::move(*applied);
    if (!arguments_.json()) announce();
    host_.run_until([this] { return over_ || host_.interrupted; });
    if (!over_ && host_.lost.empty()) {
      auto undone = host_.ask({{"do", "undo"}, {"step", "inject"}}, one_more);
      if (undone) finish(*undone);
    }
    return tell();
  }

  // What would be done.
  int plan() {
    auto told = host_.ask(about_the_fault("plan"));
    if (int code = refused(told, fmt::format("plan {} on", arguments_.fault)); code) return code;
    if (arguments_.json()) {
      json::object out{{"fault", arguments_.fault}, {"host", name_}, {"for_ns", wanted_.for_ns}};
      if (wanted_.samples) out["samples"] = describe(*wanted_.samples);
      for (auto& [key, value] : *told)
        if (key != "id" && key != "ok") out[key] = value;
      fmt::print("{}\n", json::serialize(out));
    } else {
      fmt::print("{} on {}, for {}. Nothing is changed by planning.\n", arguments_.fault, name_,
                 to_string(Duration{wanted_.for_ns}));
      print_told_plan(*told, wanted_.samples);
    }
    return exit_pass;
  }

 private:
  json::object about_the_fault(const char* verb) const {
    return {{"do", verb},
            {"fault", arguments_.fault},
            {"with", wanted_.with},
            {"on", wanted_.on},
            {"for_ns", wanted_.for_ns},
            {"seed", std::to_string(arguments_.seed.value_or(1))}};
  }

  int refused(const Reply& reply, const std::string& attempt) {
    if (reply) return 0;
    if (host_.interrupted) {
      complain(fmt::format("{} {}: interrupted; nothing was changed", attempt, name_));
      return exit_halted;
    }
    complain(fmt::format("{} {}: {}", attempt, name_, reply.error().text));
    return reply.error().kind == "input" ? exit_input : exit_could_not_run;
  }

  void announce() {
    fmt::print("{} on {}, for {}; Ctrl-C undoes it\n", arguments_.fault, name_,
               to_string(Duration{wanted_.for_ns}));
    print_told_plan(applied_, wanted_.samples);
    std::fflush(stdout);
  }

  std::string text(const char* key) {
    auto* member = applied_.if_contains(key);
    return member && member->is_string() ? std::string(member->get_string()) : "";
  }

  void hear(const json::object& event) {
    auto* what = event.if_contains("event");
    if (!what || !what->is_string()) return;
    if (what->get_string() == "undone") return finish(event);
    if (what->get_string() == "leaving")
      undone_by_hand_ = event.contains("why") && event.at("why") == undone_by_hand;
    if (what->get_string() == "left") farewell_ = event;
    if (what->get_string() == "other" && !arguments_.json())
      fmt::print("another drill here: {} ({}) of {} {}\n", text_of(event, "step"), text_of(event, "fault"),
                 text_of(event, "run"),
                 event.contains("over") && event.at("over") == true ? "is over" : "is in force");
    if (what->get_string() != "dose" || arguments_.json()) return;
    auto* dose = event.if_contains("dose");
    if (!dose) return;
    if (::isatty(STDOUT_FILENO))
      fmt::print("\r\033[K{}", dose_text(*dose));
    else if (++doses_ % 4 == 1)
      fmt::print("{}\n", dose_text(*dose));
    std::fflush(stdout);
  }

  // An injector that was stopped or frozen cannot undo, and its guardian may be as well.
  void look_after_it(std::chrono::nanoseconds for_how_long) {
    if (session_.empty() || over_) return;
    LinkOptions options;
    options.state = arguments_.state;
    const auto begin = std::chrono::steady_clock::now() - for_how_long;
    const auto found = rescue_host(spec_, options, session_);
    if (!found.reached) complain(fmt::format("the injector on {} says nothing, and {}", name_, found.text));
    if (!found.suspended) return;
    unattended_ = fmt::format(
        "the injector on {} was stopped or frozen, and nobody looked after the fault for {:.1f} s; {}", name_,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), found.text);
    complain(unattended_);
  }

  void finish(const json::object& undone) {
    if (std::exchange(over_, true)) return;
    undone_ = undone;
  }

  int tell() {
    json::object restored{{"clean", false}, {"differences", json::array{}}};
    if (host_.lost.empty())
      if (auto bye = host_.ask({{"do", "bye"}}, one_more)) farewell_ = std::move(*bye);
    host_.close();
    if (farewell_.empty() && !host_.lost.empty()) return tell_lost();
    if (!farewell_.empty())
      for (auto* key : {"clean", "differences", "see", "meanwhile", "ended"})
        restored[key] = farewell_[key];
    const bool undone = is_true(undone_, "clean");
    const bool clean = undone && is_true(restored, "clean");
    restored["clean"] = clean;
    if (auto* left = undone_.if_contains("left"); left && !undone) restored["left"] = *left;
    auto dose = undone_.contains("dose") ? undone_["dose"] : json::value(json::object{});
    if (!unattended_.empty() && dose.is_object())
      dose.get_object()["verified"] = false, dose.get_object()["reason"] = unattended_;
    if (arguments_.json()) {
      fmt::print("{}\n", json::serialize(json::object{{"fault", arguments_.fault},
                                                      {"host", name_},
                                                      {"mechanism", text("mechanism")},
                                                      {"targets", applied_["targets"]},
                                                      {"apply_ns", applied_["apply_ns"]},
                                                      {"dose", dose},
                                                      {"restored", restored}}));
    } else {
      fmt::print("{}{}\n", ::isatty(STDOUT_FILENO) ? "\r\033[K" : "", dose_text(dose));
      fmt::print("{}\n", clean ? "undone; the host is as it was" : "the host is NOT as it was");
      for (auto& difference :
           restored["differences"].is_array() ? restored["differences"].get_array() : json::array{})
        if (difference.is_string()) fmt::print("  {}\n", std::string(difference.get_string()));
      if (auto* see = restored.if_contains("see"); see && see->is_array() && !see->get_array().empty())
        for (auto& step : text::next_steps(undone, {{name_, json::value_to<std::vector<std::string>>(*see)}}))
          fmt::print("  → {}\n", step);
      if (auto* meanwhile = restored.if_contains("meanwhile"); meanwhile && meanwhile->is_array())
        for (auto& what : meanwhile->get_array())
          fmt::print("  meanwhile, by others: {}\n", std::string(what.as_string()));
      if (auto* ended = restored.if_contains("ended"); ended && ended->is_array())
        for (auto& what : ended->get_array())
          fmt::print("  {} ended with the session\n", std::string(what.as_string()));
      fmt::print("{}", left_text(undone_.if_contains("left")));
    }
    if (undone_by_hand_)
      complain(fmt::format("undone on {} by {}", name_, undone_by_hand));
    else if (!host_.lost.empty())
      complain(host_.lost);
    if (!clean) return exit_not_restored;
    if (host_.interrupted || undone_by_hand_) return exit_halted;
    if (!host_.lost.empty() || !unattended_.empty()) return exit_could_not_run;
    return dose.is_object() && is_true(dose.get_object(), "verified") ? exit_pass : exit_inconclusive;
  }

  // The injector is gone without a word; whether everything was put back is in its journal.
  int tell_lost() {
    LinkOptions options;
    options.state = arguments_.state;
    const auto recovered = host_.recover(spec_, options, session_);
    const bool clean = recovered.clean;
    complain(fmt::format("the link was lost: {}; {}{}", host_.lost,
                         clean               ? "the host was put back by " + recovered.by + recovered.costs
                         : recovered.reached ? "the host was not put back" + recovered.costs
                                             : recovered.note(),
                         clean ? "" : "\n" + left_text(&recovered.left)));
    if (arguments_.json())
      fmt::print("{}\n", json::serialize(json::object{{"fault", arguments_.fault},
                                                      {"host", name_},
                                                      {"mechanism", text("mechanism")},
                                                      {"dose", json::object{}},
                                                      {"restored", json::object{{"clean", clean}}}}));
    return !clean ? exit_not_restored : host_.interrupted ? exit_halted : exit_could_not_run;
  }

  // Of what has to be waited for one signal asks for the end, and a second one does not wait.
  static constexpr int one_more = 1;

  const Arguments& arguments_;
  const Wanted& wanted_;
  HostSpec spec_;
  OneHost host_;
  std::string name_, session_;
  json::object applied_, undone_, farewell_;
  bool over_ = false, undone_by_hand_ = false;
  std::string unattended_;
  int doses_ = 0;
};

}  // namespace

int inject_command(const Arguments& arguments) {
  auto* fault = find_fault(arguments.fault);
  if (!fault) return faults_command(arguments);  // names the nearest one
  const auto wanted = parse(arguments, *fault);
  if (!wanted.errors.empty()) {
    fmt::print(stderr, "{}", wanted.errors);
    return exit_input;
  }
  const auto host = choose_host(arguments);
  if (!host.ok) {
    fmt::print(stderr, "{}", host.error);
    return exit_input;
  }
  try {
    Injection injection{arguments, host, wanted};
    return arguments.only_plan ? injection.plan() : injection.run();
  } catch (const std::exception& e) {
    complain(fmt::format("reach the host {}: {}", host.name, e.what()));
    return exit_could_not_run;
  }
}

}  // namespace squall
