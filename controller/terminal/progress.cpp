#include "controller/terminal/progress.hpp"

#include <cstdlib>
#include <set>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/record/text.hpp"

namespace squall {
namespace {

namespace json = boost::json;

constexpr std::int64_t status_period_ns = 250'000'000;
// No probe gets more than a line in so long, however often it changes.
constexpr std::int64_t probe_line_period_ns = 1'000'000'000;

std::string text_of(const json::object& object, const char* key) {
  auto* member = object.if_contains(key);
  if (!member) return "";
  return member->is_string() ? std::string(member->get_string()) : json::serialize(*member);
}

std::int64_t number_of(const json::object& object, const char* key) {
  auto* member = object.if_contains(key);
  json::error_code ignored;
  return member && member->is_number() ? member->to_number<std::int64_t>(ignored) : 0;
}

bool is_true(const json::object& object, const char* key) {
  auto* member = object.if_contains(key);
  return member && member->is_bool() && member->get_bool();
}

// The first measured figure and whether it was verified: enough for a status line.
std::string short_dose(const json::object& dose) {
  auto *measured = dose.if_contains("measured"), *asked = dose.if_contains("prescribed");
  std::string out;
  if (measured && measured->is_object())
    for (auto& [name, value] : measured->get_object()) {
      if (!value.is_number()) continue;
      out = fmt::format(
          "{} {}", text::dose_name(name),
          text::dose_value(name, value,
                           asked && asked->is_object() ? asked->get_object().if_contains(name) : nullptr));
      break;
    }
  if (out.empty()) out = "no effect yet";
  return out + (is_true(dose, "verified") ? " ✓" : "");
}

// A terminal that can go back in its line.
bool is_capable_terminal(int fd) {
  const char* term = std::getenv("TERM");
  return fd >= 0 && ::isatty(fd) && term && std::string_view(term) != "dumb";
}

}  // namespace

std::size_t terminal_columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

Progress::Progress(const Scenario& scenario, RunLog& log, int fd, bool color)
    : scenario_(scenario), fd_(fd), color_(color), terminal_(is_capable_terminal(fd)) {
  if (fd_ >= 0) log.observe([this](const json::object& event) { hear(event); });
}

std::string Progress::styled(const std::string& style, const std::string& text) const {
  return color_ && !style.empty() ? fmt::format("\033[{}m{}\033[0m", style, text) : text;
}

void Progress::line(std::int64_t t, const std::string& style, const std::string& text) {
  const auto out =
      fmt::format("{}{} {}\n", std::exchange(shown_, false) ? "\r\033[K" : "",
                  styled("2", fmt::format("{:7.1f}s", static_cast<double>(t) / 1e9)), styled(style, text));
  [[maybe_unused]] auto ignored = ::write(fd_, out.data(), out.size());
}

void Progress::finish() {
  if (!std::exchange(shown_, false)) return;
  [[maybe_unused]] auto ignored = ::write(fd_, "\r\033[K", 4);
}

// The service, and which of its probes where it has several: one may answer while another does not.
std::string Progress::who(const json::object& event) const {
  const auto service = text_of(event, "s");
  const auto found = scenario_.landscape.services.find(service);
  if (found == scenario_.landscape.services.end() || found->second.probes.size() < 2) return service;
  return fmt::format("{} ({})", service, text_of(event, "p"));
}

void Progress::probe(const json::object& event) {
  auto& service = services_[text_of(event, "s")];
  const auto t = number_of(event, "t");
  if (is_true(event, "unseen")) return status(t);
  ++service.probes;
  const bool ok = is_true(event, "ok");
  service.ok += ok;
  service.slowest_ms = std::max(service.slowest_ms, static_cast<double>(number_of(event, "lat")) / 1e6);
  auto& seen = probes_[{text_of(event, "s"), text_of(event, "p")}];
  if (std::exchange(seen.failing, !ok) == ok) ++seen.changes;
  if (seen.failing != seen.told_failing && t - seen.told_t >= probe_line_period_ns) {
    const auto often = seen.changes > 1
                           ? fmt::format(" ({} changes in {})", seen.changes,
                                         text::seconds(static_cast<double>(t - seen.told_t) / 1e9))
                           : "";
    line(t, ok ? "32" : "31",
         (ok ? fmt::format("{} answers again", who(event))
             : fmt::format("{} fails: {}", who(event), text_of(event, "err"))) +
             often);
    seen = {.failing = !ok, .told_failing = !ok, .told_t = t};
  }
  status(t);
}

void Progress::status(std::int64_t t) {
  if (!terminal_ || t - last_status_ < status_period_ns) return;
  last_status_ = t;
  std::string text = fmt::format("{} {:.0f}/{:.0f}s", window_, static_cast<double>(t - window_start_) / 1e9,
                                 window_seconds_);
  for (auto& [name, service] : services_)
    if (service.probes)
      text += fmt::format(" | {} {:.1f}% max {:.0f}ms", name,
                          100.0 * static_cast<double>(service.ok) / static_cast<double>(service.probes),
                          service.slowest_ms);
  for (auto& [step, dose] : doses_)
    text += fmt::format(" | {}: {}", step, dose);
  const auto out = fmt::format("\r\033[K{}", styled("2", text::cut(text, terminal_columns(fd_) - 1)));
  [[maybe_unused]] auto ignored = ::write(fd_, out.data(), out.size());
  shown_ = true;
}

void Progress::hear(const json::object& event) {
  const auto kind = text_of(event, "kind");
  const auto t = number_of(event, "t");
  if (kind == "probe") return probe(event);
  if (kind == "run.started") {
    line(t, "1",
         fmt::format("{}: {}", scenario_.name,
                     scenario_.title.empty() ? text_of(event, "run") : scenario_.title));
    line(t, "",
         fmt::format("seed {}, record in runs folder {}", text_of(event, "seed"), text_of(event, "run")));
  } else if (kind == "window.started") {
    window_ = text_of(event, "window");
    window_start_ = t;
    services_.clear();
    double method = 0;
    for (auto& step : scenario_.method)
      method = std::max(method,
                        step.at.value_or(Duration{}).seconds() + (step.lasts ? step.lasts->seconds() : 10.0));
    window_seconds_ = window_ == "baseline"   ? scenario_.baseline.lasts.seconds()
                      : window_ == "recovery" ? scenario_.recovery.lasts.seconds()
                                              : method;
    line(t, "1", fmt::format("{} ({:.0f}s)", window_, window_seconds_));
  } else if (kind == "fault.applied") {
    line(t, "33",
         fmt::format("{} on {}: {} by {}, in force after {:.2f} ms", text_of(event, "step"),
                     text_of(event, "host"), text_of(event, "fault"), text_of(event, "mechanism"),
                     static_cast<double>(number_of(event, "apply_ns")) / 1e6));
  } else if (kind == "fault.dose") {
    if (auto* dose = event.if_contains("dose"); dose && dose->is_object())
      doses_[text_of(event, "step")] = short_dose(dose->get_object());
  } else if (kind == "fault.event") {
    line(t, "33", fmt::format("{}: {} {}", text_of(event, "step"), text_of(event, "what"), [&] {
           static const std::set<std::string_view> told{"t",    "at",   "kind",       "step",
                                                        "host", "what", "happened_at"};
           std::vector<std::string> rest;
           for (auto& [key, value] : event)
             if (!told.contains(key))
               rest.push_back(fmt::format("{} {}", text::dose_name(key), text::dose_value(key, value)));
           return text::join(rest);
         }()));
  } else if (kind == "fault.undone") {
    doses_.erase(text_of(event, "step"));
    const bool clean = is_true(event, "clean");
    line(t, clean ? "32" : "1;31",
         fmt::format("{} on {}: {}", text_of(event, "step"), text_of(event, "host"),
                     clean ? "undone" : "could NOT be undone completely"));
  } else if (kind == "fault.failed") {
    line(
        t, "1;31",
        fmt::format("{} on {}: {}", text_of(event, "step"), text_of(event, "host"), text_of(event, "error")));
  } else if (kind == "alert") {
    const auto state = text_of(event, "state");
    const auto receiver = text_of(event, "receiver");
    auto* labels = event.if_contains("labels");
    const auto squad = labels && labels->is_object() ? text_of(labels->get_object(), "squad") : "";
    if (state.starts_with("notified") || text_of(event, "source") != "alertmanager")
      line(t, "35",
           fmt::format("alert {} {}{}{}{}", text_of(event, "alert"),
                       state == "notified_resolved" ? "resolution was sent"
                       : state == "notified"        ? "was sent"
                                                    : state,
                       receiver.empty() ? "" : " to " + receiver,
                       squad.empty() ? "" : fmt::format(" (squad {})", squad),
                       is_true(event, "preexisting") ? ", as before the drill" : ""));
  } else if (kind == "alert.source" && !is_true(event, "ok")) {
    line(t, "31",
         fmt::format("alert source {} {}: {}", text_of(event, "source"), text_of(event, "address"),
                     text_of(event, "error")));
  } else if (kind == "alert.restart") {
    line(t, "33",
         fmt::format("alert source {} {} began anew; what it knew of alerts is gone",
                     text_of(event, "source"), text_of(event, "address")));
  } else if (kind == "clock.step") {
    line(t, "33",
         fmt::format("this machine's clock was set by {}",
                     text::seconds(static_cast<double>(number_of(event, "by_ns")) / 1e9)));
  } else if (kind == "lookout") {
    line(t, "33", "note: " + text_of(event, "text"));
  } else if (kind == "other") {
    line(t, "33",
         fmt::format("another drill on {}: {} ({}) of {} {}", text_of(event, "host"), text_of(event, "step"),
                     text_of(event, "fault"), text_of(event, "run"),
                     is_true(event, "over") ? "is over" : "is in force"));
  } else if (kind == "gap") {
    line(t, "33",
         fmt::format(
             "squall stood still for {}: what was due meanwhile was not asked",
             text::seconds(static_cast<double>(number_of(event, "to") - number_of(event, "from")) / 1e9)));
  } else if (kind == "silence") {
    probes_[{text_of(event, "s"), text_of(event, "p")}] = {
        .failing = true, .told_failing = true, .told_t = t};
    line(t, "31",
         fmt::format("{} gives no answer, for {} so far", who(event),
                     text::seconds(static_cast<double>(t - number_of(event, "due")) / 1e9)));
  } else if (kind == "halt") {
    line(t, "1;31", "halt: " + text_of(event, "reason"));
  } else if (kind == "error") {
    line(t, "1;31", "error: " + text_of(event, "text"));
  }
}

}  // namespace squall
