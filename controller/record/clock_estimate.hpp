// What another clock says beside our own monotonic one, from questions and their answers. Every answer bounds
// it from both sides: it was given after the question was sent and before it was received. The bounds of many
// answers together are narrower than those of each, so that even a Date header of whole seconds tells more in
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <boost/json/object.hpp>

namespace squall {

class ClockEstimate {
 public:
  struct News {
    std::int64_t zero_ns = 0,
                 error_ns = 0;  // what that clock says when ours says 0, and how right that is, either way
    bool stepped = false;
    std::int64_t held_ns = 0;  // where it stepped: how long ago the estimate before was seen to hold
  };

  // It said something between `low_ns` and `high_ns` at a moment between `sent_ns` and `received_ns` of our
  // monotonic clock. What is worth telling: the first estimate, a much better one, a step, and one now and
  // then.
  std::optional<News> add(std::int64_t low_ns, std::int64_t high_ns, std::int64_t sent_ns,
                          std::int64_t received_ns);

 private:
  bool fresh_ = true;
  std::int64_t low_ = 0, high_ = 0;  // bounds of zero_ns
  std::int64_t last_ = 0, told_at_ = 0, told_error_ = 0;
};

std::int64_t monotonic_clock_ns();

// The record's "clock": `of` is "prometheus", "alertmanager" or "host", `name` an address or a host's name.
boost::json::object to_event(const ClockEstimate::News&, const std::string& of, const std::string& name);
boost::json::object unknown_clock(const std::string& of, const std::string& name, const std::string& why);

// "Sun, 29 Nov 2026 01:15:32 GMT" in ns of CLOCK_REALTIME; nothing where it is no such date.
std::optional<std::int64_t> parse_http_date(const std::string&);

}  // namespace squall
