// IP packets that come in pieces (fragments): what was decided about the first piece holds for those behind
// it.
#pragma once

#include <cstdint>
#include <unordered_map>

#include <boost/circular_buffer.hpp>

#include "injector/host/impairments/impairment.hpp"

namespace squall {

class PieceFates {
 public:
  struct Decision {
    Fate fate;
    std::int64_t delay_ns = 0;  // of the whole dose
    bool queue_full = false;    // it found no room before a limited rate
  };
  // By what all pieces of a packet have in common; nullptr where none came yet, or too many others since.
  Decision* find(std::uint64_t packet);
  Decision& add(std::uint64_t packet, const Decision&);

 private:
  static constexpr std::size_t most = 8192;
  std::unordered_map<std::uint64_t, Decision> known_;
  boost::circular_buffer<std::uint64_t> order_{most};  // the first to come is the first to be forgotten
};

}  // namespace squall
