// The playlists' home, in PostgreSQL.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <libpq-fe.h>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "tests/stack/metrics.hpp"

namespace squall::stack {

// libpq blocks, so that each statement runs on a thread of the pool; a connection that broke is opened again.
class Catalogue {
 public:
  using Answer = tl::expected<std::optional<std::string>, std::string>;
  using Done = std::function<void(Answer)>;  // called on a thread of the pool

  Catalogue(std::string connection_string, Histogram& latency);
  ~Catalogue();

  void find(unsigned id, Done done);
  void save(unsigned id, std::string body, Done done);
  void count_play(unsigned id, Done done);

 private:
  void run(const char* statement, std::vector<std::string> parameters, Done done);
  Answer ask(const char* statement, const std::vector<std::string>& parameters);
  PGconn* take();

  std::string connection_string_;
  Histogram& latency_;
  std::mutex mutex_;
  std::vector<PGconn*> idle_;
  boost::asio::thread_pool pool_{4};
};

}  // namespace squall::stack
