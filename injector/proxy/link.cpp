#include "injector/proxy/link.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

namespace squall::proxy {

namespace {
constexpr std::size_t at_once = 1 << 20;       // carried before others have their turn
constexpr std::size_t small = 2048;            // a message that needs no pipe
constexpr std::size_t most_waiting = 1 << 20;  // for the receiver
constexpr std::size_t remembered = 4096;

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}
}  // namespace

Link::Link(LinkOwner& owner, Socket& from, Socket& to, Engine& engine, LinkCounters& counters)
    : owner_(owner), from_(from), to_(to), engine_(engine), counters_(counters) {}

Link::~Link() {
  stop();
}

void Link::stop() {
  if (stopped_) return;
  stopped_ = over_ = true;
  waits_no_more();
  if (timer_) timer_->cancel();
  pipe_ = {};
}

void Link::put_first(std::unique_ptr<Stage> stage) {
  stages_.insert(stages_.begin(), std::move(stage));
}

void Link::wake() {
  pump();
  read();
}

void Link::start() {
  started_ = true;
  const auto now = Clock::now();
  for (auto& stage : stages_)
    stage->begin(now);
  if (const auto early = std::exchange(early_, {})) {
    if (stages_.empty())
      pass_on(early->bytes.data(), early->bytes.size());
    else
      arrived(*early);
  }
  pump();
  read();
}

void Link::set_toxics(const std::vector<Toxic>& toxics, std::uint64_t seed) {
  const auto now = Clock::now();
  // First those that go, from the last to the first: what they hold passes the stages behind them.
  for (std::size_t i = stages_.size(); i-- > 0;) {
    const auto& name = stages_[i]->toxic().name;
    if (name.empty()) continue;  // no toxic
    if (std::any_of(toxics.begin(), toxics.end(), [&](auto& one) { return one.name == name; })) continue;
    if (started_) {
      stages_[i]->end(now);
      hand_on(i, now, true);
    }
    stages_.erase(stages_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  // What stays keeps its place, or what it holds would be overtaken.
  for (auto& toxic : toxics) {
    const auto there = std::find_if(stages_.begin(), stages_.end(),
                                    [&](auto& one) { return one->toxic().name == toxic.name; });
    if (there != stages_.end()) {
      (*there)->configure(toxic, now);
    } else {
      stages_.push_back(make_stage(toxic, seed + stages_.size()));
      if (started_) stages_.back()->begin(now);
    }
  }
  if (!started_ || over_) return;
  pump();
  read();
}

bool Link::read_early() {
  char text[small];
  const auto got = from_.read(text, sizeof text);
  if (got < 0) failed_to_read();
  if (got <= 0) return false;  // the end is told again
  count_received(static_cast<std::size_t>(got));
  early_ = {
      .kind = Piece::Kind::data, .bytes = {text, static_cast<std::size_t>(got)}, .arrived = Clock::now()};
  return true;
}

// What waits holds the sender back.
bool Link::has_room() const {
  return started_ && !ended_ && !over_ && !pipe_.holds && out_bytes_ < most_waiting &&
         (stages_.empty() || !stages_.front()->full());
}

void Link::read() {
  if (std::exchange(reading_, true)) return;
  for (std::size_t done = 0; from_.readable() && has_room();) {
    if (pipe_ && !spliced()) engine_.pipes.give_back(std::exchange(pipe_, {}));
    done += pipe_ ? splice() : stages_.empty() ? read_plain() : read_for_stages();
    if (done < at_once) continue;
    if (from_.readable()) engine_.readiness.again(from_);
    break;
  }
  if (!from_.readable() && pipe_ && !pipe_.holds) engine_.pipes.give_back(std::exchange(pipe_, {}));
  reading_ = false;
}

void Link::count_received(std::size_t size) {
  counters_.received_bytes += size;
  carried_ = true;
}

void Link::failed_to_read() {
  if (!would_block(errno)) owner_.broken(from_);
}

std::size_t Link::read_plain() {
  auto* const data = engine_.buffer.data();
  const auto got = from_.read(data, small);
  if (got < 0) return failed_to_read(), 0;
  if (got == 0) return arrived({.kind = Piece::Kind::end, .bytes = {}, .arrived = Clock::now()}), 0;
  const auto size = static_cast<std::size_t>(got);
  count_received(size);
  if (!spliced())
    return arrived({.kind = Piece::Kind::data, .bytes = {data, size}, .arrived = Clock::now()}), size;
  pass_on(data, size);
  if (size == small && spliced() && !over_) pipe_ = engine_.pipes.take();  // more waits, most likely
  return size;
}

// Without a stage, and without a copy where there is room for it.
void Link::pass_on(const char* data, std::size_t size) {
  const auto sent = ::send(to_.fd(), data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && !would_block(errno)) return owner_.broken(to_);
  const auto done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
  counters_.sent_bytes += done;
  if (done == size) return;
  out_.push_back({.kind = Piece::Kind::data, .bytes = {data + done, size - done}, .arrived = Clock::now()});
  out_bytes_ += size - done;
  wait_until_writable();
}

std::size_t Link::read_for_stages() {
  Clock::time_point when;
  const auto got = from_.read(engine_.buffer.data(), engine_.buffer.size(), read_all_, when);
  if (got < 0) return failed_to_read(), 0;
  if (got == 0) return arrived({.kind = Piece::Kind::end, .bytes = {}, .arrived = when}), 0;
  if (!from_.readable()) read_all_ = Clock::now();
  const auto size = static_cast<std::size_t>(got);
  count_received(size);
  arrived({.kind = Piece::Kind::data, .bytes = {engine_.buffer.data(), size}, .arrived = when});
  return size;
}

std::size_t Link::splice() {
  const auto got =
      ::splice(from_.fd(), nullptr, pipe_.write.get(), nullptr, at_once, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (got == 0)
    return engine_.pipes.give_back(std::exchange(pipe_, {})), 0;  // the end is read again where ends are read
  if (got < 0) {
    if (errno != EINTR) from_.nothing_left();
    return failed_to_read(), 0;
  }
  pipe_.holds = static_cast<std::size_t>(got);
  count_received(pipe_.holds);
  empty_pipe();
  return static_cast<std::size_t>(got);
}

// False where the rest has to wait, or the connection broke.
bool Link::empty_pipe() {
  while (pipe_.holds) {
    const auto sent = ::splice(pipe_.read.get(), nullptr, to_.fd(), nullptr, pipe_.holds,
                               SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (sent <= 0) {
      if (sent < 0 && would_block(errno))
        wait_until_writable();
      else
        owner_.broken(to_);
      return false;
    }
    pipe_.holds -= static_cast<std::size_t>(sent);
    counters_.sent_bytes += static_cast<std::size_t>(sent);
  }
  return true;
}

void Link::arrived(Piece piece) {
  if (piece.kind == Piece::Kind::end) ended_ = true;
  if (stages_.empty()) {
    out_bytes_ += piece.bytes.size();
    out_.push_back(std::move(piece));
  } else {
    const auto now = piece.arrived;
    take(*stages_.front(), std::move(piece), now);
  }
  pump();
  read();
}

void Link::take(Stage& stage, Piece piece, Clock::time_point now) {
  stage.take(std::move(piece), now);
  counters_.discarded_bytes += stage.discarded();
  counters_.cuts += stage.cuts();
}

// What is due in one stage goes to the next, or out; with `all` even where that has no room.
void Link::hand_on(std::size_t at, Clock::time_point now, bool all) {
  const bool last = at + 1 == stages_.size();
  while (all || (last ? out_bytes_ < most_waiting : !stages_[at + 1]->full())) {
    auto piece = stages_[at]->give(now);
    if (!piece) return;
    if (last) {
      out_bytes_ += piece->bytes.size();
      out_.push_back(std::move(*piece));
    } else {
      take(*stages_[at + 1], std::move(*piece), now);
    }
  }
}

void Link::pump() {
  if (!started_ || over_ || pumping_) return;
  pumping_ = true;
  const auto now = Clock::now();
  tell_waiting(now);
  for (std::size_t i = 0; i < stages_.size(); ++i)
    hand_on(i, now);
  pumping_ = false;
  write_out();
  if (over_) return;
  const bool waits = std::any_of(stages_.begin(), stages_.end(), [](auto& stage) { return stage->holds(); });
  if (waits && waiting_since_ == Clock::time_point{}) begins_to_wait(now);
  if (!waits) waits_no_more();
  set_timer();
}

void Link::begins_to_wait(Clock::time_point now) {
  waiting_since_ = now;
  if (counters_.waiting_now++ == 0) counters_.any_waiting_since = now;
}

void Link::waits_no_more() {
  if (waiting_since_ == Clock::time_point{}) return;
  waiting_since_ = {};
  waited_s_ = 0;
  --counters_.waiting_now;
}

void Link::tell_waiting(Clock::time_point now) {
  if (waiting_since_ == Clock::time_point{}) return;
  waited_s_ += std::chrono::duration<double>(now - waiting_since_).count();
  waiting_since_ = now;
}

// Up to what is sent: the time that the next piece has waited so far has brought no bytes yet.
void Link::count_waiting(std::size_t sent, Clock::time_point now) {
  if (waiting_since_ == Clock::time_point{}) return;
  counters_.waiting_bytes += sent;
  counters_.waiting_s += std::exchange(waited_s_, 0);
  counters_.any_waiting_s +=
      std::chrono::duration<double>(now - std::exchange(counters_.any_waiting_since, now)).count();
}

void Link::set_timer() {
  auto next = Clock::time_point::max();
  const auto now = Clock::now();
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const auto due = stages_[i]->due();
    // What is due and still there is held back by what is behind it, which will say when it has room.
    if (due && *due > now) next = std::min(next, *due);
    if (due && *due <= now && (i + 1 == stages_.size() ? out_bytes_ < most_waiting : !stages_[i + 1]->full()))
      next = now;
  }
  if (next == timer_at_) return;
  timer_at_ = next;
  if (next == Clock::time_point::max()) {
    if (timer_) timer_->cancel();
    return;
  }
  if (!timer_) timer_.emplace(engine_.io);
  timer_->expires_at(next);
  timer_->async_wait([this, alive = owner_.keep_alive()](auto error) {
    if (error || over_) return;
    timer_at_ = Clock::time_point::max();
    pump();
    read();
  });
}

void Link::write_out() {
  if (writing_ || over_ || !empty_pipe()) return;
  while (!out_.empty() && !over_)
    if (!send_front()) return;
}

// False where the rest has to wait, or the connection is over.
bool Link::send_front() {
  auto& piece = out_.front();
  switch (piece.kind) {
    case Piece::Kind::data:
      break;
    case Piece::Kind::end: {
      ::shutdown(to_.fd(), SHUT_WR);
      if (!stages_.empty()) {
        ++counters_.ends;
        counters_.end_held_sum_ms +=
            std::chrono::duration<double, std::milli>(Clock::now() - piece.arrived).count();
      }
      out_.pop_front();
      over_ = true;
      owner_.over(*this);
      return false;
    }
    case Piece::Kind::close:
      owner_.end(false);
      return false;
    case Piece::Kind::reset:
      owner_.end(true);
      return false;
    case Piece::Kind::farewell:
      owner_.farewell();
      return false;
  }
  const auto sent = ::send(to_.fd(), piece.bytes.data(), piece.bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) {
    if (would_block(errno))
      wait_until_writable();
    else
      owner_.broken(to_);
    return false;
  }
  const auto size = static_cast<std::size_t>(sent);
  counters_.sent_bytes += size;
  out_bytes_ -= size;
  piece.bytes.cut(size);
  count_waiting(size, Clock::now());
  if (!stages_.empty()) counters_.piece_bytes += size;
  if (!piece.bytes.empty()) return true;  // once more: it says that it would block
  if (!stages_.empty() && piece.measured) measure(piece);
  out_.pop_front();
  return true;
}

void Link::measure(const Piece& piece) {
  using Milliseconds = std::chrono::duration<float, std::milli>;
  const auto now = Clock::now();
  const Milliseconds held{now - piece.arrived};
  counters_.held_sum_ms += held.count();
  for (auto [ring, value] : {std::pair{&counters_.held_ms, held},
                             {&counters_.rolled_ms, Milliseconds{piece.rolled}},
                             {&counters_.late_ms, Milliseconds{now - piece.leaves}}})
    if (ring->size() < remembered)
      ring->push_back(value.count());
    else
      (*ring)[counters_.pieces % remembered] = value.count();
  ++counters_.pieces;
}

void Link::wait_until_writable() {
  writing_ = true;
  to_.watch(true);
}

void Link::writable() {
  if (!writing_ || over_ || !to_.writable()) return;
  writing_ = false;
  if (!empty_pipe()) return;
  pump();
  read();
}

}  // namespace squall::proxy
