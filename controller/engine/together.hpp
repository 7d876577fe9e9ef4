// Several hosts at once: what is started for each runs beside the others, so that many take as long as the
// slowest.
#pragma once

#include <exception>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace squall {

// Starts `each(item)`, a coroutine, for every item and comes back when all have ended; then throws what the
// first one threw that threw. The items live at least as long.
template <class Items, class Each>
boost::asio::awaitable<void> together(boost::asio::io_context& io, Items& items, Each each) {
  boost::asio::steady_timer all_done{io, boost::asio::steady_timer::time_point::max()};
  std::size_t running = 0;
  std::exception_ptr failed;
  for (auto& item : items) {
    ++running;
    boost::asio::co_spawn(io, each(item), [&](std::exception_ptr error) {
      if (error && !failed) failed = error;
      if (--running == 0) all_done.cancel();
    });
  }
  while (running > 0) {
    boost::system::error_code woken;
    co_await all_done.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, woken));
  }
  if (failed) std::rethrow_exception(failed);
}

}  // namespace squall
