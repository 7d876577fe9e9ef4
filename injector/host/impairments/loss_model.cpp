#include "injector/host/impairments/loss_model.hpp"

#include <array>

namespace squall {

namespace {

using Row = std::array<double, 4>;

std::array<Row, 4> transitions(const MarkovLoss& m) {
  return {Row{1 - m.p13 - m.p14, 0, m.p13, m.p14}, Row{0, 1 - m.p23, m.p23, 0},
          Row{m.p31, m.p32, 1 - m.p31 - m.p32, 0}, Row{1, 0, 0, 0}};
}

// The share of the time in each state, from the first one on.
Row stationary(const MarkovLoss& markov) {
  const auto chances = transitions(markov);
  Row share{1, 0, 0, 0};
  // Averaged with the step before, so that it settles even where states alternate.
  for (int step = 0; step < 200'000; ++step) {
    Row next{};
    for (std::size_t from = 0; from < 4; ++from)
      for (std::size_t to = 0; to < 4; ++to)
        next[to] += share[from] * chances[from][to];
    for (std::size_t i = 0; i < 4; ++i)
      share[i] = (share[i] + next[i]) / 2;
  }
  return share;
}

}  // namespace

double LossShape::share() const {
  if (every) return 1.0 / every;
  if (markov) {
    const auto in = stationary(*markov);
    return in[2] + in[3];
  }
  if (worsens <= 0) return when_good;
  const double bad = worsens / (worsens + recovers);
  return bad * when_bad + (1 - bad) * when_good;
}

double LossShape::mean_burst() const {
  if (every) return every == 1 ? 0 : 1;
  if (markov) {
    const auto in = stationary(*markov);
    const auto lost = in[2] + in[3];
    // A run ends with each step from a state of loss to one that passes.
    const double ends = in[2] * (markov->p31 + markov->p32) + in[3];
    return ends > 0 ? lost / ends : 0;
  }
  const double bad = worsens > 0 ? worsens / (worsens + recovers) : 0;
  // The share of the packets that are not lost after one that was.
  const double lost = share(),
               both = bad * when_bad * ((1 - recovers) * when_bad + recovers * when_good) +
                      (1 - bad) * when_good * (worsens * when_bad + (1 - worsens) * when_good);
  return lost > both ? lost / (lost - both) : 0;
}

LossSampler::LossSampler(const LossShape& shape, std::uint64_t seed) : shape_(shape), random_(seed) {
  // As after a long time: a loss of all loses the first as well.
  bad_ = shape.worsens > 0 && chance() < shape.worsens / (shape.worsens + shape.recovers);
}

// netem decides by the state before it leaves it (loss_gilb_ell in net/sched/sch_netem.c).
bool LossSampler::next_of_two() {
  const double lost = bad_ ? shape_.when_bad : shape_.when_good;
  if (chance() < (bad_ ? shape_.recovers : shape_.worsens)) bad_ = !bad_;
  return lost >= 1 || (lost > 0 && chance() < lost);
}

// And here by the state it goes to (loss_4state).
bool LossSampler::next_of_four() {
  const auto row = transitions(*shape_.markov)[static_cast<std::size_t>(state_ - 1)];
  double drawn = chance();
  for (int to = 0; to < 4; ++to) {
    if (drawn < row[static_cast<std::size_t>(to)]) {
      state_ = to + 1;
      break;
    }
    drawn -= row[static_cast<std::size_t>(to)];
  }
  return state_ >= 3;
}

bool LossSampler::next(double level) {
  bool lost = false;
  if (shape_.every)
    lost = ++since_ % shape_.every == 0;
  else
    lost = shape_.markov ? next_of_four() : next_of_two();
  return lost && (level >= 1 || chance() < level);
}

}  // namespace squall
