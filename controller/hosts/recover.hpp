// What became of a host whose injector was lost: asked of the host itself, within a limit, and nothing said
// that it did not tell.
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include "controller/hosts/link.hpp"

namespace squall {

struct HostRecovered {
  bool reached = false;     // its `squall-injector recover` answered; where it did not, nothing is known
  bool clean = false;       // and nothing of ours is left
  std::string by;           // who put it back, or tried to; where it was not reached, why
  boost::json::value left;  // as `squall-injector recover` tells it
  std::string costs;        // "; slow: at least 217 packets that it held are lost", or nothing

  // "the injector was lost; its guardian carried out its journal", for reports.
  std::string note() const;
};

// Waits for its guardian, or does the guardian's work.
boost::asio::awaitable<HostRecovered> recover_lost_host(boost::asio::io_context&, HostSpec, LinkOptions,
                                                        std::string session);

// Looks after an injector that says nothing any more, by another link: one that is stopped or frozen is woken
// to undo and leave, or killed, and its journal carried out. Waits for the answer: on a thread of its own.
struct HostRescued {
  bool reached = false;    // false: nobody could look, and nothing is known
  bool suspended = false;  // false: it only is slow, and nothing was done
  bool clean = false;
  std::string text;  // what was found and done, for a person
};
HostRescued rescue_host(const HostSpec&, const LinkOptions&, const std::string& session);

}  // namespace squall
