// The near end of a probe's connection, by which a host recognises that connection among others.
#pragma once

#include <string>

namespace squall {

// Of a socket of TCP, or of UDP: "tcp 10.0.0.1:4711", as the injector's protocol has it; "" where it has no
// address yet.
std::string own_end(int socket, bool udp = false);

}  // namespace squall
