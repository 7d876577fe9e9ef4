#include "reports/render/live.hpp"

#include <algorithm>

#include "reports/record/statistics.hpp"

namespace squall {

void SlidingWindow::add(const ProbeSample& sample) {
  const bool timed = sample.ok || sample.error.find("timed out") != std::string::npos;
  const Answer answer{sample.due_ns + sample.latency_ns, static_cast<double>(sample.latency_ns) / 1e6,
                      sample.ok, timed};
  if (!first_t_) first_t_ = answer.t;
  // Answers of several probes come nearly in order.
  auto after = samples_.end();
  while (after != samples_.begin() && std::prev(after)->t > answer.t)
    --after;
  samples_.insert(after, answer);
  ok_ += answer.ok;
}

void SlidingWindow::advance(std::int64_t now_t) {
  while (!samples_.empty() && samples_.front().t <= now_t - over_ns_) {
    ok_ -= samples_.front().ok;
    samples_.pop_front();
  }
}

bool SlidingWindow::full(std::int64_t now_t) const {
  return first_t_ && *first_t_ <= now_t - over_ns_;
}

double SlidingWindow::availability(std::int64_t more_bad) const {
  const auto all = probes() + more_bad;
  return all == 0 ? 1 : static_cast<double>(ok_) / static_cast<double>(all);
}

double SlidingWindow::latency_ms(double q, const std::vector<double>& waited_ms) const {
  std::vector<double> ms = waited_ms;
  for (auto& answer : samples_)
    if (answer.timed) ms.push_back(answer.latency_ms);
  if (ms.empty()) return 0;
  std::sort(ms.begin(), ms.end());
  return quantile(ms, q);
}

LiveWindows::LiveWindows(const std::vector<HaltCondition>& conditions) {
  for (auto& condition : conditions)
    watched_.push_back({condition, {}});
}

void LiveWindows::add(const std::string& service, const std::string& probe, const ProbeSample& sample) {
  if (sample.unseen) return;
  for (auto& watched : watched_)
    if (watched.condition.service == service)
      watched.windows.try_emplace(probe, watched.condition.over).first->second.add(sample);
}

void LiveWindows::forget() {
  for (auto& watched : watched_)
    watched.windows.clear();
}

std::string LiveWindows::reason(std::int64_t now_t, const std::vector<Unanswered>& waiting) {
  for (auto& [condition, windows] : watched_) {
    for (auto& one : waiting)  // a probe that was never answered has no window of its own yet
      if (one.service == condition.service) windows.try_emplace(one.probe, condition.over);
    for (auto& [probe, window] : windows)
      if (auto why = reason(condition, probe, window, now_t, waiting); !why.empty()) return why;
  }
  return "";
}

std::string LiveWindows::reason(const HaltCondition& condition, const std::string& probe,
                                SlidingWindow& window, std::int64_t now_t,
                                const std::vector<Unanswered>& waiting) {
  constexpr std::int64_t least_samples = 3;
  window.advance(now_t);
  std::vector<double> overdue_ms;
  std::int64_t asked = window.probes();
  for (auto& one : waiting) {
    if (one.service != condition.service || one.probe != probe) continue;
    ++asked;
    if (now_t - one.due_ns >= condition.over.ns)
      overdue_ms.push_back(static_cast<double>(now_t - one.due_ns) / 1e6);
  }
  const auto overdue = static_cast<std::int64_t>(overdue_ms.size());
  const auto judged = window.probes() + overdue;
  if ((!window.full(now_t) && !overdue) || judged == 0 || (overdue ? asked : judged) < least_samples)
    return "";
  const auto of = fmt::format("{} probes{}", judged,
                              overdue ? fmt::format(", {} of them unanswered so far", overdue) : "");
  const auto who = fmt::format("service {}, probe \"{}\"", condition.service, probe);
  const auto percent = 100 * window.availability(overdue);
  if (condition.availability && condition.availability->holds(percent, condition.availability->bound.value))
    return fmt::format("{}: availability {:.1f}% over the last {} ({} of {}), to be halted when {}", who,
                       percent, to_string(condition.over), window.ok(), of,
                       to_string(*condition.availability));
  auto latency = [&](const char* name, const std::optional<Comparison<Duration>>& bound, double q) {
    const auto ms = window.latency_ms(q, overdue_ms);
    if (!bound || ms <= 0 || !bound->holds(ms, bound->bound.milliseconds())) return std::string();
    return fmt::format("{}: latency {} {:.1f} ms over the last {} ({}), to be halted when {}", who, name, ms,
                       to_string(condition.over), of, to_string(*bound));
  };
  for (auto& text : {latency("p50", condition.latency_p50, 0.5), latency("p90", condition.latency_p90, 0.9),
                     latency("p99", condition.latency_p99, 0.99)})
    if (!text.empty()) return text;
  return "";
}

}  // namespace squall
