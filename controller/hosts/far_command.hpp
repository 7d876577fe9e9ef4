// One-shot commands that may hang (an injector's verb, through ssh or sudo) without anybody waiting for them
// for ever: they run beside the loop, have a limit, and end with whoever asked.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "controller/hosts/child.hpp"

namespace squall {

// Runs a command to its end, or to its limit: `late` then, and its process group is ended. Reads nothing of
// our own stdin. Throws std::runtime_error where it cannot be started.
boost::asio::awaitable<Finished> run_beside(boost::asio::io_context&, std::vector<std::string> command,
                                            std::chrono::nanoseconds limit);

// What of a program's words for people matters, in one line: without blank lines, repetitions, carriage
// returns and what ssh says before it gets to the point; the last 600 bytes or so.
std::string in_one_line(std::string_view words);

}  // namespace squall
