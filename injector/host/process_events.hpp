// New processes, as the kernel tells of them at once (the proc connector, Documentation/driver-api/connector.rst).
#pragma once

#include <cstdint>
#include <functional>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "injector/host/process.hpp"

namespace squall {

class ProcessEvents {
 public:
  // A process that was forked, or has become another program; `at` is CLOCK_MONOTONIC.
  using Take = std::function<void(pid_t, std::int64_t at)>;
  // Only root in the first pid and user namespaces hears anything (drivers/connector/cn_proc.c).
  ProcessEvents(boost::asio::io_context&, Take);
  ProcessEvents(const ProcessEvents&) = delete;
  // Takes what has happened by now, without waiting for the loop's turn.
  void catch_up();

 private:
  void listen();

  boost::asio::posix::stream_descriptor socket_;
  Take take_;
};

}  // namespace squall
