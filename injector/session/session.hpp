// One session of the injector: the protocol of protocol.hpp over a pair of descriptors, on one thread. It
// trusts no caller: every request is checked against the catalogue and the host's policy again.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "injector/session/policy.hpp"

namespace squall {

struct SessionOptions {
  std::string state = "/var/lib/squall";
  Policy policy;
  int in = 0, out = 1;
};

// Serves until the link ends, `bye`, or a signal; undoes everything first. 0, or 6 where something is left.
int serve(const SessionOptions&);

}  // namespace squall
