// New processes, as the kernel tells of them at once (the proc connector,
// Documentation/driver-api/connector.rst).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "injector/system/process.hpp"

namespace squall {

class ProcessEvents {
 public:
  enum class What { begun, ended };  // forked, or become another program; a thread of it has ended
  // `at` is CLOCK_MONOTONIC. Only notes it down: it may be called in the middle of whatever catches up.
  using Take = std::function<void(What, pid_t, std::int64_t at)>;
  // Only root in the first pid and user namespaces hears anything (drivers/connector/cn_proc.c).
  ProcessEvents(boost::asio::io_context&, Take);
  ProcessEvents(const ProcessEvents&) = delete;
  // Takes what has happened by now, without waiting for the loop's turn.
  void catch_up();

 private:
  void listen();

  boost::asio::posix::stream_descriptor socket_;
  Take take_;
  // A handler that is queued already is called although its descriptor is closed meanwhile.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace squall
