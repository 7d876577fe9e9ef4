// One toxic at work in one direction of one connection: pieces come in, wait, are changed, and leave.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "injector/proxy/piece.hpp"
#include "injector/proxy/toxic.hpp"

namespace squall::proxy {

class Stage {
 public:
  Stage(Toxic toxic, std::uint64_t seed) : toxic_(std::move(toxic)), random_(seed) {}
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;

  const Toxic& toxic() const { return toxic_; }
  // Other attributes, while pieces may wait.
  void configure(const Toxic& toxic, Clock::time_point now) {
    toxic_ = toxic;
    configured(now);
  }
  virtual void begin(Clock::time_point) {}
  virtual void take(Piece, Clock::time_point now) = 0;
  // Whether it has so much that no more should come.
  virtual bool full() const { return bytes_ >= (32U << 20); }
  // The toxic is taken away: what waits leaves at once, and nothing is lost.
  virtual void end(Clock::time_point now) {
    for (auto& piece : waiting_)
      piece.leaves = now;
  }

  // When the next piece leaves; nothing where none waits, or for ever.
  std::optional<Clock::time_point> due() const {
    if (waiting_.empty() || waiting_.front().leaves == Clock::time_point::max()) return std::nullopt;
    return waiting_.front().leaves;
  }
  std::optional<Piece> give(Clock::time_point now) {
    if (waiting_.empty() || waiting_.front().leaves > now) return std::nullopt;
    auto out = std::move(waiting_.front());
    waiting_.pop_front();
    bytes_ -= out.bytes.size();
    return out;
  }

  bool holds() const { return bytes_ > 0; }
  // Bytes that were dropped since the last call.
  std::size_t discarded() { return std::exchange(discarded_, 0); }
  // Cuts into smaller pieces, likewise.
  std::size_t cuts() { return std::exchange(cuts_, 0); }

 protected:
  virtual void configured(Clock::time_point) {}
  void wait(Piece piece, Clock::time_point until) {
    piece.leaves = until;
    bytes_ += piece.bytes.size();
    waiting_.push_back(std::move(piece));
  }

  Toxic toxic_;
  std::mt19937_64 random_;
  std::deque<Piece> waiting_;
  std::size_t bytes_ = 0, discarded_ = 0, cuts_ = 0;
};

std::unique_ptr<Stage> make_stage(const Toxic&, std::uint64_t seed);

}  // namespace squall::proxy
