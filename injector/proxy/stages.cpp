// The toxics. What toxiproxy's documentation says of each holds, except where it calls a behaviour of its own
// a defect.
#include <algorithm>
#include <utility>

#include "injector/proxy/stage.hpp"

namespace squall::proxy {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr auto never = Clock::time_point::max();
constexpr auto longest =
    std::chrono::years{10};  // that the waits of many pieces add up to: sums do not overflow

// Each piece later by latency ± jitter, uniformly; in order.
class Latency : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    nanoseconds delay = milliseconds{toxic_.latency_ms};
    if (toxic_.jitter_ms > 0) {
      const auto jitter = nanoseconds(milliseconds{toxic_.jitter_ms}).count();
      delay += nanoseconds{std::uniform_int_distribution<std::int64_t>{-jitter, jitter - 1}(random_)};
    }
    delay = std::max(delay, nanoseconds{0});
    piece.rolled += delay;
    last_ = std::max(last_, now + delay);
    wait(std::move(piece), last_);
  }

 private:
  Clock::time_point last_;
};

// So many bytes a second, in slices of at most 100 ms.
class Bandwidth : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    while (piece.bytes.size() > slice()) {
      auto part = piece;
      part.bytes = piece.bytes.cut(slice());
      schedule(std::move(part), now);
    }
    schedule(std::move(piece), now);
  }
  // As much as passes in 200 ms may wait here: the rest waits at the sender, as before a thin line.
  bool full() const override { return bytes_ > std::max<std::size_t>(2 * slice(), 4096); }

 protected:
  void configured(Clock::time_point now) override {
    auto again = std::exchange(waiting_, {});
    bytes_ = 0;
    free_ = now;
    for (auto& piece : again)
      take(std::move(piece), now);
  }

 private:
  std::size_t slice() const {
    return toxic_.rate_kb > 0 ? static_cast<std::size_t>(toxic_.rate_kb) * 100 : 32 << 10;
  }
  void schedule(Piece piece, Clock::time_point now) {
    if (toxic_.rate_kb <= 0) return wait(std::move(piece), never);
    free_ = std::max(free_, now) +
            nanoseconds{static_cast<std::int64_t>(piece.bytes.size()) * 1'000'000 / toxic_.rate_kb};
    const auto until = free_;
    wait(std::move(piece), until);
  }
  Clock::time_point free_;
};

// The end comes later than the data.
class SlowClose : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    const bool data = piece.kind == Piece::Kind::data;
    wait(std::move(piece), data ? now : now + milliseconds{toxic_.delay_ms});
  }
};

// Nothing passes; the connection is closed after a time, or never where it is 0, or when the toxic goes: what
// was promised to the sender's TCP cannot be kept any more.
class Timeout : public Stage {
 public:
  using Stage::Stage;
  void begin(Clock::time_point now) override {
    began_ = now;
    configured(now);
  }
  void take(Piece piece, Clock::time_point) override { discarded_ += piece.bytes.size(); }
  void end(Clock::time_point now) override {
    waiting_.clear();
    wait({.kind = Piece::Kind::close, .bytes = {}, .arrived = now}, now);
  }

 protected:
  void configured(Clock::time_point now) override {
    waiting_.clear();
    if (toxic_.timeout_ms > 0)
      wait({.kind = Piece::Kind::close, .bytes = {}, .arrived = now},
           began_ + milliseconds{toxic_.timeout_ms});
  }

 private:
  Clock::time_point began_;
};

// A reset some time after the first data, or the end; what comes meanwhile is held.
class ResetPeer : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    if (waiting_.empty())
      wait({.kind = Piece::Kind::reset, .bytes = {}, .arrived = piece.arrived},
           now + milliseconds{toxic_.timeout_ms});
    wait(std::move(piece), never);
  }
  // The reset that was under way is called off.
  void end(Clock::time_point now) override {
    if (!waiting_.empty()) waiting_.pop_front();
    Stage::end(now);
  }
};

// Small pieces with pauses between them.
class Slicer : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    const auto average = std::max<std::int64_t>(toxic_.average_size, 1);
    const auto variation = std::clamp<std::int64_t>(toxic_.size_variation, 0, average - 1);
    for (bool first = true; piece.kind == Piece::Kind::data && !piece.bytes.empty(); first = false) {
      auto part = piece;
      part.bytes = piece.bytes.cut(static_cast<std::size_t>(
          std::uniform_int_distribution<std::int64_t>{average - variation, average + variation}(random_)));
      last_ = std::max(last_, now);
      if (!first) ++cuts_;
      if (!first || last_ > now) last_ = std::min(last_ + microseconds{toxic_.delay_us}, now + longest);
      const auto until = last_;
      wait(std::move(part), until);
    }
    if (piece.kind != Piece::Kind::data) wait(std::move(piece), std::max(last_, now));
  }
  bool full() const override { return bytes_ >= (1U << 20); }

 private:
  Clock::time_point last_;
};

// Closes after so many bytes; the count goes on when the limit changes.
class LimitData : public Stage {
 public:
  using Stage::Stage;
  void take(Piece piece, Clock::time_point now) override {
    if (over_) {
      discarded_ += piece.bytes.size();
      return;
    }
    if (piece.kind != Piece::Kind::data) return wait(std::move(piece), now);
    const auto left = static_cast<std::size_t>(std::max<std::int64_t>(toxic_.bytes - passed_, 0));
    const bool last = piece.bytes.size() >= left;
    auto part = piece;
    part.bytes = piece.bytes.cut(left);
    passed_ += static_cast<std::int64_t>(part.bytes.size());
    if (!part.bytes.empty()) wait(std::move(part), now);
    if (!last) return;
    over_ = true;
    discarded_ += piece.bytes.size();
    wait({.kind = Piece::Kind::close, .bytes = {}, .arrived = now}, now);
  }

 private:
  std::int64_t passed_ = 0;
  bool over_ = false;
};

}  // namespace

std::unique_ptr<Stage> make_stage(const Toxic& toxic, std::uint64_t seed) {
  switch (toxic.type) {
    case ToxicType::latency:
      return std::make_unique<Latency>(toxic, seed);
    case ToxicType::bandwidth:
      return std::make_unique<Bandwidth>(toxic, seed);
    case ToxicType::slow_close:
      return std::make_unique<SlowClose>(toxic, seed);
    case ToxicType::timeout:
      return std::make_unique<Timeout>(toxic, seed);
    case ToxicType::reset_peer:
      return std::make_unique<ResetPeer>(toxic, seed);
    case ToxicType::slicer:
      return std::make_unique<Slicer>(toxic, seed);
    case ToxicType::limit_data:
      return std::make_unique<LimitData>(toxic, seed);
  }
  return nullptr;
}

}  // namespace squall::proxy
