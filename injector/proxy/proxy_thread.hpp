// A proxy on a thread of its own, in the network namespace of its target, for a transparent place in front of a service.
#pragma once

#include <cstdint>
#include <memory>

#include "injector/proxy/proxy.hpp"

namespace squall::proxy {

class ProxyThread {
 public:
  // Listens on every address of that network namespace (0: the caller's); throws std::exception where it cannot.
  ProxyThread(const ProxyPlan&, std::uint64_t network_namespace, pid_t namespace_pid);
  // Ends every connection.
  ~ProxyThread();
  ProxyThread(const ProxyThread&) = delete;

  std::uint16_t port() const;
  void set_toxics(std::vector<Toxic>);
  void set_http(std::shared_ptr<const HttpRule>);
  ProxyStatistics statistics();
  void accept_no_more();

  // Keeps it, without toxics, for the connections that exist, as long as the process lives; they are closed at its end.
  static void keep_for_connections(std::unique_ptr<ProxyThread>);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace squall::proxy
