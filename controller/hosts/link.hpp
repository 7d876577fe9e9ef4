// A link to the injector of one host: requests, answers and events as JSON lines over the stdio of a child process,
// which is the injector itself (local) or what carries it (ssh). See injector/protocol.hpp for what is said.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <tl/expected.hpp>

#include "scenarios/landscape.hpp"

namespace squall {

// Why a request was not carried out.
struct Refusal {
  std::string kind;  // "input", "refused", "conflict", "failed" by the injector's word; "lost" where the link is gone
  std::string text;
};

using Reply = tl::expected<boost::json::object, Refusal>;

// Where the injector of a host is and how to reach it.
struct LinkOptions {
  std::string state = "/var/lib/squall";
  bool privileged = true;  // false: planning and looking only, so no sudo
};

// The command that reaches a host's injector, ready for posix_spawn. `verb` is "stdio", "status", "undo" or "recover".
std::vector<std::string> injector_command(const HostSpec&, const LinkOptions&, const std::string& verb,
                                          const std::vector<std::string>& more = {});

// What became of a host whose injector was lost: waits for its guardian, or does the guardian's work.
struct HostRecovered {
  bool clean = false;
  std::string by;  // who put it back, or tried to
  boost::json::value left;  // as `squall-injector recover` tells it
  std::string costs;  // "; slow: at least 217 packets that it held are lost", or nothing
};
HostRecovered recover_lost_host(const HostSpec&, const LinkOptions&, const std::string& session);

// Looks after an injector that says nothing any more, by another link: one that is stopped or frozen is woken to undo and leave,
// or killed, and its journal carried out.
struct HostRescued {
  bool reached = false;    // false: nobody could look, and nothing is known
  bool suspended = false;  // false: it only is slow, and nothing was done
  bool clean = false;
  std::string text;  // what was found and done, for a person
};
HostRescued rescue_host(const HostSpec&, const LinkOptions&, const std::string& session);

class Link {
 public:
  struct Sinks {
    std::function<void(const boost::json::object&)> event;
    std::function<void(const std::string& why)> closed;  // once, and only when it was not closed by `close`
    // It stands, but nothing came through it while the lease was renewed twice; again after each such time.
    std::function<void(std::chrono::nanoseconds for_how_long)> silent = {};
  };

  // Starts the child; throws std::runtime_error naming the command when it cannot.
  Link(boost::asio::io_context&, std::string host, const std::vector<std::string>& command, Sinks);
  ~Link();
  Link(const Link&) = delete;

  // Sends a request; the handler is called once, never inside this call.
  void request(boost::json::object, std::function<void(Reply)>);
  boost::asio::awaitable<Reply> ask(boost::json::object);
  // Renews the injector's lease in this rhythm, for as long as this process is alive and its loop runs.
  void keep_alive(std::chrono::nanoseconds every);
  // Ends the link: end of file makes the injector undo everything and leave.
  void close();
  bool open() const;
  const std::string& host() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
