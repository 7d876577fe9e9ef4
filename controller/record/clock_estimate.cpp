#include "controller/record/clock_estimate.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace squall {
namespace {

constexpr std::int64_t tell_again_ns = 20'000'000'000;

std::int64_t drift(std::int64_t span_ns) {
  return span_ns / 2000;
}  // 500 ppm, as fast as adjtimex(2) slews

std::int64_t wall_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

std::int64_t monotonic_clock_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds{1};
}

std::optional<ClockEstimate::News> ClockEstimate::add(std::int64_t low_ns, std::int64_t high_ns,
                                                      std::int64_t sent_ns, std::int64_t received_ns) {
  const auto low = low_ns - received_ns, high = high_ns - sent_ns;
  News out;
  if (!fresh_) {
    low_ -= drift(received_ns - last_), high_ += drift(received_ns - last_);
    out.stepped = low > high_ || high < low_;
    out.held_ns = received_ns - last_;
  }
  if (fresh_ || out.stepped) {
    low_ = low, high_ = high;
  } else {
    low_ = std::max(low_, low), high_ = std::min(high_, high);
  }
  last_ = received_ns;
  out.error_ns = (high_ - low_) / 2 + 1;
  out.zero_ns = low_ + (high_ - low_) / 2;
  const bool worth_it =
      fresh_ || out.stepped || out.error_ns < told_error_ / 2 || received_ns - told_at_ > tell_again_ns;
  fresh_ = false;
  if (!worth_it) return std::nullopt;
  told_at_ = received_ns, told_error_ = out.error_ns;
  return out;
}

boost::json::object to_event(const ClockEstimate::News& news, const std::string& of,
                             const std::string& name) {
  boost::json::object out{{"of", of},
                          {"name", name},
                          {"offset_ns", news.zero_ns + monotonic_clock_ns() - wall_ns()},
                          {"error_ns", news.error_ns}};
  if (news.stepped) out["stepped"] = true, out["held_ns"] = news.held_ns;
  return out;
}

boost::json::object unknown_clock(const std::string& of, const std::string& name, const std::string& why) {
  return {{"of", of}, {"name", name}, {"unknown", why}};
}

std::optional<std::int64_t> parse_http_date(const std::string& text) {
  tm parts{};
  if (!::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts)) return std::nullopt;
  return static_cast<std::int64_t>(::timegm(&parts)) * 1'000'000'000;
}

}  // namespace squall
