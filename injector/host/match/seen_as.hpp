// How a connection of ours to a server bears the address of the client that it is made for.
#pragma once

#include <cstdint>

namespace squall {

struct SeenAs {
  std::uint32_t priority = 0;  // of the socket towards the server (SO_PRIORITY); 0: as it is
  bool by_itself = false;      // the address is one of this host's, and the socket is bound to it
};

}  // namespace squall
