#include "controller/engine/presence.hpp"

#include <time.h>

#include <utility>

namespace squall {
namespace {

constexpr std::chrono::milliseconds tick{50};
// A busy machine is late by tens of milliseconds; a sign of life comes each `tick`.
constexpr std::int64_t noticed_ns = 500'000'000;

std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

Moment moment_now() {
  return {read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_BOOTTIME)};
}

std::optional<Gap> gap_between(const Moment& before, const Moment& now) {
  if (now.boot_ns - before.boot_ns < noticed_ns) return std::nullopt;
  // The clocks are read one after the other: a few microseconds are no sleep.
  const auto slept = (now.boot_ns - before.boot_ns) - (now.awake_ns - before.awake_ns);
  return Gap{before.boot_ns, now.boot_ns, slept > 1'000'000 ? slept : 0};
}

struct Presence::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io, Noticed told) : timer(io), noticed(std::move(told)) {}

  void wait() {
    timer.expires_after(tick);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& failed) {
      const auto self = weak.lock();
      if (failed || !self) return;
      self->look();
      self->wait();
    });
  }
  void look() {
    const auto now = moment_now();
    const auto gap = gap_between(std::exchange(last, now), now);
    if (gap && noticed) noticed(*gap, std::chrono::nanoseconds(gap->to_t - gap->from_t - gap->suspended_ns));
  }

  boost::asio::steady_timer timer;
  Noticed noticed;
  Moment last = moment_now();
};

Presence::Presence(boost::asio::io_context& io, Noticed noticed)
    : state_(std::make_shared<State>(io, std::move(noticed))) {
  state_->wait();
}

Presence::~Presence() {
  state_->noticed = nullptr;
  state_->timer.cancel();
}

void Presence::look() {
  state_->look();
}

}  // namespace squall
