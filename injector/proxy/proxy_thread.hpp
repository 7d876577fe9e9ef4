// A proxy on a thread of its own, in the network namespace of its target, for a transparent place in front of
// a service.
#pragma once

#include <cstdint>
#include <memory>

#include "injector/proxy/proxy.hpp"

namespace squall::proxy {

class ProxyThread {
 public:
  // Listens on every address of that network namespace (0: the caller's); throws std::exception where it
  // cannot.
  ProxyThread(const ProxyPlan&, std::uint64_t network_namespace, pid_t namespace_pid);
  // Ends every connection (Proxy::break_off).
  ~ProxyThread();
  ProxyThread(const ProxyThread&) = delete;

  std::uint16_t port() const;
  void set_toxics(std::vector<Toxic>);
  void set_http(std::shared_ptr<const HttpRule>);
  ProxyStatistics statistics();
  // No toxics and no rule: what waits goes on at once, and nothing is done to connections any more. Those
  // that the kernel has made are accepted. How many there are.
  std::uint64_t only_carry();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace squall::proxy
