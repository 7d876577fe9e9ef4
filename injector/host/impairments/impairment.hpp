// What is done to packets on their way, as netem(8) would.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>

#include "injector/host/impairments/delay_distribution.hpp"
#include "injector/host/impairments/loss_model.hpp"
#include "injector/host/impairments/packet_editor.hpp"
#include "injector/host/impairments/rate_limit.hpp"

namespace squall {

// Of every `gap` packets one may overtake the others, and does with the chance `share`: it is not delayed,
// they are.
struct ReorderShape {
  double share = 0;
  std::uint32_t gap = 1;
};

struct Impairment {
  DelayShape delay;  // 0: none
  std::optional<LossShape> loss;
  double duplicate = 0, corrupt = 0;  // shares of the packets
  std::optional<ReorderShape> reorder;
  std::optional<RateShape> rate;
  std::shared_ptr<PacketEditor>
      editor;  // decides about each packet before the rest; our own engine alone has it

  // Each packet counts as it is on the wire: none of the large segments that a sender leaves to its device to
  // cut.
  bool each_packet() const { return loss || duplicate > 0 || corrupt > 0 || reorder || rate || editor; }
  // Their bytes are needed, not only the fact of them.
  bool content() const { return duplicate > 0 || corrupt > 0 || editor; }
};

// "a delay of 80 ms, 5 % lost"
std::string to_string(const Impairment&);

// What becomes of one packet besides its delay.
struct Fate {
  bool lost = false, duplicated = false, corrupted = false, at_once = false;
};

// Draws fates; the same seed draws the same. `level` is the part of the whole.
class FateSampler {
 public:
  FateSampler(const Impairment&, std::uint64_t seed);
  Fate next(double level);
  // A number below `most`, of the same seed.
  std::uint64_t below(std::uint64_t most) { return most ? random_() % most : 0; }

 private:
  bool chance(double share) { return share > 0 && static_cast<double>(random_() >> 11) * 0x1p-53 < share; }

  Impairment shape_;
  std::optional<LossSampler> loss_;
  std::mt19937_64 random_;
  std::uint32_t since_ = 0;
};

}  // namespace squall
