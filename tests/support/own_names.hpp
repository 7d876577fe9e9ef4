// Host names of a test's own, whose addresses it may change at any time.
#pragma once

#include <string>

#include "tests/support/server_process.hpp"

namespace squall::testing {

// While it lives the calling thread, and what it starts, sees an /etc/hosts and an /etc/resolv.conf of the
// test's own (in a mount namespace).
class OwnNames {
 public:
  explicit OwnNames(const std::string& hosts, const std::string& resolv_conf = "nameserver 127.0.0.1\n");
  ~OwnNames();
  OwnNames(const OwnNames&) = delete;
  // From now on, at once.
  void become(const std::string& hosts);

 private:
  void put(const std::string& content, const std::string& over);

  test::TemporaryDirectory folder_;
  int before_, directory_, count_ = 0;
};

}  // namespace squall::testing
