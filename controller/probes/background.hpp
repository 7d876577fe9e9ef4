// Work that may block (getaddrinfo(3), walking /proc), on a thread of its own so that the loop's timers stay
// exact.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace squall {

class Background {
 public:
  // `work` runs on the new thread; what it returns runs on the loop. Throws std::runtime_error where no
  // thread can be had, or where as many as may be are still at it.
  using Deliver = std::function<void()>;
  Background(boost::asio::io_context&, std::function<Deliver()> work);
  // Forgets the result; the thread ends in its own time.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

 private:
  struct Slot;
  std::shared_ptr<Slot> slot_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> loop_stays_;
};

}  // namespace squall
