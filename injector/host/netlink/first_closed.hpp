// A netlink socket whose end, and with it that of the tables that it owns, is not kept waiting when this
// process dies.
#pragma once

#include <memory>

#include "injector/host/netlink/netlink.hpp"

namespace squall {

// The last thread of a dying process closes its descriptors, once all memory is given back: milliseconds, and
// each thread waits for a processor before that (do_exit in kernel/exit.c). This socket is in a table of
// descriptors that one thread has for itself, with nearly nothing to give back and of the highest priority.
// Where the host allows no such thread it is the first of the others.
class FirstClosed {
 public:
  // The socket must not be in use; nobody but the new object may have its descriptor.
  explicit FirstClosed(netlink::Socket);
  ~FirstClosed();  // closes it, without waiting
  FirstClosed(const FirstClosed&) = delete;
  FirstClosed& operator=(const FirstClosed&) = delete;

  netlink::Answer exchange(netlink::Messages&);
  // Among the descriptors of all threads again; nothing else is asked of it afterwards.
  netlink::Socket release();

 private:
  netlink::Socket socket_;          // where there is no keeper
  Fd kept_;                         // by its number in the keeper's table
  class Keeper* keeper_ = nullptr;  // its number means something to this one's thread alone
};

}  // namespace squall
