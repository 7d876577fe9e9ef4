// What a fault stands on besides its aim: devices, filters and rules of ours, which somebody may take away
// while it is in force. Looked at with each dose: what is gone hits nobody any more, or loses what is led to
// it, whatever was measured before.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "injector/faults/fault.hpp"

namespace squall::faults {

class Footing {
 public:
  // `look` says what is wrong, with what follows from it; "" while all is as it was made. Called by the
  // injector's thread alone, with each dose, or less often: no sooner than `every_ns` after it was called
  // before.
  void add(std::function<std::string()> look, std::int64_t every_ns = 0);
  // From now on, and, with a last look, no longer: the fault's own undo takes away what it stands on.
  void begin();
  // How long since, in nanoseconds; 0 while it is not in force.
  std::int64_t age() const;
  void end();
  // Looks again. What was wrong once is told for good, with the time when it was found.
  void look();
  // In the order in which it was found.
  const std::vector<std::string>& wrong() const { return wrong_; }
  // "fault.ineffective", once for each.
  void tell(std::vector<FaultEvent>&);

 private:
  struct Look {
    std::function<std::string()> look;
    std::int64_t every_ns = 0, next = 0;
  };
  void look_at_all(bool at_once);

  std::vector<Look> looks_;
  std::vector<std::string> wrong_;
  std::vector<std::int64_t> found_at_;
  std::size_t told_ = 0;
  bool in_force_ = false;
  std::int64_t since_ = 0;
};

}  // namespace squall::faults
