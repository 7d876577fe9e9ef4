#include "injector/faults/shape/life.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/system/process.hpp"

namespace squall::faults {

struct Life::Timer {
  Timer(boost::asio::io_context& io, Duration every, std::function<void()> what)
      : timer(io), period(every), act(std::move(what)) {}
  boost::asio::steady_timer timer;
  Duration period;
  std::function<void()> act;
  bool ended = false;  // a handler that is queued already is called although its timer is gone
};

Life::Life(const Setting& setting) : io_(setting.io) {}
Life::~Life() {
  end();
}

void Life::every(Duration period, std::function<void()> act) {
  if (!io_) return;
  timers_.push_back(std::make_shared<Timer>(*io_, period, std::move(act)));
  wait(timers_.back());
}

void Life::wait(const std::shared_ptr<Timer>& one) {
  one->timer.expires_after(one->period.chrono());
  one->timer.async_wait([this, one](auto error) {
    if (error || one->ended) return;
    try {
      one->act();
    } catch (const std::exception& e) {
      tell("fault.trouble", {{"why", e.what()}});
    }
    if (!one->ended) wait(one);
  });
}

void Life::tell(std::string event, boost::json::object with) {
  events_.push_back({std::move(event), wall_ns(), std::move(with)});
}

void Life::end() {
  for (auto& one : timers_)
    one->ended = true;
  timers_.clear();
}

}  // namespace squall::faults
