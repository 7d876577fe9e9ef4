#include "reports/live.hpp"

#include <algorithm>

#include "reports/statistics.hpp"

namespace squall {

void SlidingWindow::add(const ProbeSample& sample) {
  const bool timed = sample.ok || sample.error.find("timed out") != std::string::npos;
  const Answer answer{sample.due_ns + sample.latency_ns, static_cast<double>(sample.latency_ns) / 1e6, sample.ok, timed};
  if (!first_t_) first_t_ = answer.t;
  // Answers of several probes come nearly in order.
  auto after = samples_.end();
  while (after != samples_.begin() && std::prev(after)->t > answer.t) --after;
  samples_.insert(after, answer);
  ok_ += answer.ok;
}

void SlidingWindow::advance(std::int64_t now_t) {
  while (!samples_.empty() && samples_.front().t <= now_t - over_ns_) {
    ok_ -= samples_.front().ok;
    samples_.pop_front();
  }
}

bool SlidingWindow::full(std::int64_t now_t) const { return first_t_ && *first_t_ <= now_t - over_ns_; }

double SlidingWindow::availability() const {
  return samples_.empty() ? 1 : static_cast<double>(ok_) / static_cast<double>(samples_.size());
}

double SlidingWindow::latency_ms(double q) const {
  std::vector<double> ms;
  for (auto& answer : samples_)
    if (answer.timed) ms.push_back(answer.latency_ms);
  if (ms.empty()) return 0;
  std::sort(ms.begin(), ms.end());
  return quantile(ms, q);
}

LiveWindows::LiveWindows(const std::vector<HaltCondition>& conditions) {
  for (auto& condition : conditions) watched_.push_back({condition, SlidingWindow{condition.over}});
}

void LiveWindows::add(const std::string& service, const ProbeSample& sample) {
  for (auto& watched : watched_)
    if (watched.condition.service == service) watched.window.add(sample);
}

std::string LiveWindows::reason(std::int64_t now_t) {
  constexpr std::int64_t least_samples = 3;
  for (auto& [condition, window] : watched_) {
    window.advance(now_t);
    if (!window.full(now_t) || window.probes() < least_samples) continue;
    const auto percent = 100 * window.availability();
    if (condition.availability && condition.availability->holds(percent, condition.availability->bound.value))
      return fmt::format("service {}: availability {:.1f}% over the last {} ({} of {} probes), to be halted when {}", condition.service,
                         percent, to_string(condition.over), window.ok(), window.probes(), to_string(*condition.availability));
    auto latency = [&, &c = condition, &w = window](const char* name, const std::optional<Comparison<Duration>>& bound, double q) {
      const auto ms = w.latency_ms(q);
      if (!bound || ms <= 0 || !bound->holds(ms, bound->bound.milliseconds())) return std::string();
      return fmt::format("service {}: latency {} {:.1f} ms over the last {} ({} probes), to be halted when {}", c.service, name, ms,
                         to_string(c.over), w.probes(), to_string(*bound));
    };
    for (auto& text : {latency("p50", condition.latency_p50, 0.5), latency("p90", condition.latency_p90, 0.9),
                       latency("p99", condition.latency_p99, 0.99)})
      if (!text.empty()) return text;
  }
  return "";
}

}  // namespace squall
