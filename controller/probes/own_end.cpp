#include "controller/probes/own_end.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include "injector/host/match/endpoint_set.hpp"

namespace squall {

std::string own_end(int socket, bool udp) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (socket < 0 || ::getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return "";
  const auto end = endpoint_of(udp ? IPPROTO_UDP : IPPROTO_TCP, reinterpret_cast<const sockaddr*>(&name));
  return end && end->port ? to_string(*end) : "";
}

}  // namespace squall
