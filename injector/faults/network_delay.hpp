// network.delay: delays packets, as a long or crowded path would.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/fault.hpp"
#include "injector/host/delay_distribution.hpp"

namespace squall::faults {

enum class Direction { out, in, both };
enum class DelayProtocol { any, tcp, udp, icmp };
enum class DelayMechanism { kernel, userland };

struct NetworkDelay {
  Duration delay;
  std::optional<Duration> jitter;
  std::optional<Distribution> distribution;
  std::optional<Percent> correlation;
  Direction direction = Direction::out;
  std::vector<std::string> to;
  std::vector<std::uint16_t> port;
  DelayProtocol protocol = DelayProtocol::any;
  std::optional<DelayMechanism> mechanism;

  DelayShape shape() const;
};

extern const FaultType network_delay;

}  // namespace squall::faults
