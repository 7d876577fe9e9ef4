#include "injector/faults/shape/life.hpp"

#include <boost/asio/steady_timer.hpp>

#include "injector/system/process.hpp"

namespace squall::faults {

struct Life::Timer {
  boost::asio::steady_timer timer;
  std::chrono::nanoseconds time;
  std::function<void()> act;
  bool again;
};

void Life::arm(const std::shared_ptr<Timer>& timer) {
  timer->timer.expires_after(timer->time);
  timer->timer.async_wait([this, weak = std::weak_ptr(timer)](auto error) {
    const auto timer = weak.lock();  // gone: this life is over, and may be gone itself
    if (error || !timer) return;
    try {
      timer->act();
    } catch (const std::exception& e) {
      tell("fault.error", {{"text", e.what()}});
    }
    if (over_) return;
    if (timer->again)
      arm(timer);
    else
      std::erase(timers_, timer);
  });
}

void Life::after(Duration time, std::function<void()> act) {
  if (!io_ || over_) return;
  arm(timers_.emplace_back(
      std::make_shared<Timer>(boost::asio::steady_timer{*io_}, time.chrono(), std::move(act), false)));
}

void Life::every(Duration time, std::function<void()> act) {
  if (!io_ || over_) return;
  arm(timers_.emplace_back(
      std::make_shared<Timer>(boost::asio::steady_timer{*io_}, time.chrono(), std::move(act), true)));
}

void Life::at_end(std::function<void()> act) {
  if (over_) return act();
  endings_.push_back(std::move(act));
}

void Life::tell(std::string event, boost::json::object with) {
  events_.push_back({std::move(event), wall_ns(), std::move(with)});
}

void Life::end() {
  if (std::exchange(over_, true)) return;
  timers_.clear();
  for (auto act = endings_.rbegin(); act != endings_.rend(); ++act)
    (*act)();
  endings_.clear();
}

}  // namespace squall::faults
