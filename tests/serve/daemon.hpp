// A real `squall serve` with a folder of its own, asked by curl.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "tests/support/server_process.hpp"

namespace squall::test {

struct Reply {
  int status = 0;
  std::string body;
  boost::json::value json() const { return boost::json::parse(body); }
};

class Daemon {
 public:
  Daemon();
  // Starts it, or starts it again over the same store; waits until it answers.
  void start(const std::vector<std::string>& more = {});
  void kill();
  // By a person's token; "" for nobody. `more` are options of curl.
  Reply get(const std::string& who, const std::string& path, const std::vector<std::string>& more = {}) const;
  Reply post(const std::string& who, const std::string& path, const std::string& json = "{}",
             const std::vector<std::string>& more = {}) const;
  // The run as soon as it has ended, by the API; empty where it has not after 30 s.
  boost::json::object ended(const std::string& run) const;
  bool record_holds(const std::string& run, const std::string& text) const;
  std::string record(const std::string& run) const;
  std::string token(const std::string& who) const { return who + "-token-of-the-test"; }

  TemporaryDirectory drills, state;
  std::uint16_t port = 0;
  std::unique_ptr<ServerProcess> process;
};

// people.yaml: a viewer, members of web and db, a lead, each with token() of theirs.
std::string people();

}  // namespace squall::test
