// Which packets are lost: the models of netem(8), with its meaning of every figure. E. N. Gilbert, "Capacity
// of a burst-noise channel" (1960); E. O. Elliott, "Estimates of error rates for codes on burst-noise
// channels" (1963); S. Salsano et al., "Definition of a general and intuitive loss model for packet networks"
// (2012), of the four states.
#pragma once

#include <cstdint>
#include <optional>
#include <random>

namespace squall {

// Chances from one state to another, packet by packet: 1 packets pass, 3 packets are lost in a burst, 2
// packets pass within a burst, 4 one packet alone is lost.
struct MarkovLoss {
  double p13 = 0, p31 = 0, p32 = 0, p23 = 0, p14 = 0;
};

// One of the three: every n-th packet, four states, or two of them, a good and a bad one.
struct LossShape {
  double worsens = 0, recovers = 1;    // the chances to leave the good state, and the bad one
  double when_bad = 1, when_good = 0;  // the share that is lost in each
  std::optional<MarkovLoss> markov;
  std::uint32_t every = 0;

  static LossShape independent(double share) { return {.worsens = share, .recovers = 1 - share}; }
  // `burst` packets in a row on average, at least 1 and more than share / (1 - share).
  static LossShape in_bursts(double share, double burst) {
    return {.worsens = share / burst / (1 - share), .recovers = 1 / burst};
  }
  // Each packet's fate is that of the one before with this correlation, 0 to 1.
  static LossShape correlated(double share, double correlation) {
    return {.worsens = share * (1 - correlation), .recovers = (1 - share) * (1 - correlation)};
  }

  // What is lost in the long run.
  double share() const;
  // How many are lost in a row, on average.
  double mean_burst() const;
};

// What came and what became of it.
struct LossCounts {
  std::uint64_t came = 0, lost = 0;
  std::uint64_t bursts = 0;  // of packets lost in a row
};

// Draws; the same seed draws the same. At a lower level each loss happens with that chance only.
class LossSampler {
 public:
  LossSampler(const LossShape&, std::uint64_t seed);
  bool next(double level);

 private:
  double chance() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  bool next_of_two();
  bool next_of_four();

  LossShape shape_;
  std::mt19937_64 random_;
  int state_ = 1;
  bool bad_ = false;
  std::uint32_t since_ = 0;
};

}  // namespace squall
