// Ctrl-C at the very end, when what was begun is over and only the telling of it is left.
#pragma once

#include <boost/asio/signal_set.hpp>

namespace squall {

// From here to the end of the process SIGINT, SIGTERM and SIGHUP, which this set waited for, do nothing.
void ignore_interrupts(boost::asio::signal_set&);

}  // namespace squall
