// A link to the injector of one host: requests, answers and events as JSON lines over the stdio of a child
// process, which is the injector itself (local) or what carries it (ssh). See injector/session/protocol.hpp
// for what is said.
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

#include "scenarios/model/landscape.hpp"

namespace squall {

// Why a request was not carried out.
struct Refusal {
  std::string kind;  // "input", "absent", "refused", "conflict", "failed" by the injector's word; "lost"
                     // where the link is gone
  std::string text;
};

using Reply = tl::expected<boost::json::object, Refusal>;

// Where the injector of a host is and how to reach it.
struct LinkOptions {
  std::string state = "/var/lib/squall";
  bool privileged = true;  // false: planning and looking only, so no sudo
};

// The command that reaches a host's injector, ready for posix_spawn. `verb` is "stdio", "status", "undo" or
// "recover".
std::vector<std::string> injector_command(const HostSpec&, const LinkOptions&, const std::string& verb,
                                          const std::vector<std::string>& more = {});

// How long an injector may take. No wait for one is without an end.
struct Patience {
  std::chrono::nanoseconds first_word =
      std::chrono::seconds{20};  // from the first request to the first answer: connecting, a login, sudo
  std::chrono::nanoseconds answer = std::chrono::seconds{60};  // to any request
  std::chrono::nanoseconds sign_of_life =
      std::chrono::seconds{20};  // to a renewal of the lease, while nothing else is asked
};

class Link {
 public:
  struct Sinks {
    std::function<void(const boost::json::object&)> event;
    std::function<void(const std::string& why)> closed;  // once, and only when it was not closed by `close`
    // It stands, but nothing came through it while the lease was renewed twice; again after each such time.
    std::function<void(std::chrono::nanoseconds for_how_long)> silent = {};
  };

  // Starts the child; throws std::runtime_error naming the command when it cannot.
  Link(boost::asio::io_context&, std::string host, const std::vector<std::string>& command, Sinks,
       Patience = {});
  ~Link();
  Link(const Link&) = delete;

  // Sends a request; the handler is called once, never inside this call.
  void request(boost::json::object, std::function<void(Reply)>);
  boost::asio::awaitable<Reply> ask(boost::json::object);
  // Renews the injector's lease in this rhythm, for as long as this process is alive and its loop runs.
  void keep_alive(std::chrono::nanoseconds every);
  // Ends the link: end of file makes the injector undo everything and leave.
  void close();
  // Ends it at once and answers whoever waits with this; for signals. What is in force is undone by the host
  // itself.
  void give_up(const std::string& why);
  bool open() const;
  const std::string& host() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
