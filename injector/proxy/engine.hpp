// What the proxies of one thread share.
#pragma once

#include <array>

#include <boost/asio/io_context.hpp>

#include "injector/proxy/pipes.hpp"
#include "injector/proxy/readiness.hpp"

namespace squall::proxy {

struct Engine {
  explicit Engine(boost::asio::io_context& loop) : io(loop), readiness(loop) {}
  boost::asio::io_context& io;
  Readiness readiness;
  Pipes pipes;
  std::array<char, 64 << 10> buffer;  // for what is read and handed on at once
};

}  // namespace squall::proxy
