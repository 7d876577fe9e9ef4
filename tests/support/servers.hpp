// nginx, Redis, PostgreSQL and dnsmasq, each started with a small configuration of its own.
#pragma once

#include <memory>
#include <string>

#include "tests/support/server_process.hpp"

namespace squall::test {

struct Server {
  std::unique_ptr<TemporaryDirectory> files;  // outlives the process
  std::unique_ptr<ServerProcess> process;
  std::string address() const { return process->address(); }
};

// `locations` goes into the server block ("location / { return 200 ok; }"). With `tls`, a self-signed
// certificate for localhost and 127.0.0.1. On `port`, or any free one.
Server start_nginx(const std::string& locations, bool tls = false, std::uint16_t port = 0);
Server start_redis(const std::vector<std::string>& options = {}, std::uint16_t port = 0);
// User postgres, database postgres, no password.
Server start_postgres();
// Answers only from `options` (--address=/web.test/10.1.2.3); anything else under test. does not exist.
Server start_dnsmasq(const std::vector<std::string>& options);

}  // namespace squall::test
