#include "injector/proxy/link.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

namespace squall::proxy {

namespace asio = boost::asio;

namespace {
constexpr std::size_t at_once = 1 << 20;      // spliced before others have their turn
constexpr std::size_t chunk = 64 << 10;       // read for the stages
constexpr std::size_t most_waiting = 1 << 20;  // for the receiver
constexpr std::size_t remembered = 4096;

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }
}  // namespace

Link::Link(LinkOwner& owner, Socket& from, Socket& to, Pipes& pipes, LinkCounters& counters)
    : owner_(owner), from_(from), to_(to), pipes_(pipes), counters_(counters), timer_(from.get_executor()) {}

Link::~Link() { stop(); }

void Link::stop() {
  if (stopped_) return;
  stopped_ = over_ = true;
  timer_.cancel();
  pipe_ = {};
}

void Link::put_first(std::unique_ptr<Stage> stage) { stages_.insert(stages_.begin(), std::move(stage)); }

void Link::wake() {
  pump();
  read();
}

void Link::start() {
  started_ = true;
  const auto now = Clock::now();
  for (auto& stage : stages_) stage->begin(now);
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
    const auto there = std::find_if(stages_.begin(), stages_.end(), [&](auto& one) { return one->toxic().name == toxic.name; });
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

void Link::read() {
  if (!started_ || reading_ || ended_ || over_) return;
  // What waits holds the sender back.
  if (pipe_.holds || out_bytes_ >= most_waiting || (!stages_.empty() && stages_.front()->full())) return;
  reading_ = true;
  from_.async_read_some(asio::buffer(first_), [this, alive = owner_.keep_alive()](auto error, std::size_t size) {
    reading_ = false;
    if (!over_) was_read(error, size);
  });
}

void Link::was_read(boost::system::error_code error, std::size_t size) {
  if (error == asio::error::operation_aborted) return;
  const auto now = Clock::now();
  if (error == asio::error::eof) return arrived({.kind = Piece::Kind::end, .bytes = {}, .arrived = now});
  if (error) return owner_.broken(from_);
  counters_.received_bytes += size;
  if (spliced()) {
    const auto sent = ::send(to_.native_handle(), first_.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && !would_block(errno)) return owner_.broken(to_);
    const auto done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    counters_.sent_bytes += done;
    if (done < size) {
      out_.push_back({.kind = Piece::Kind::data, .bytes = {first_.data() + done, size - done}, .arrived = now});
      out_bytes_ += size - done;
      return wait_until_writable();
    }
    return size == first_.size() ? splice_on() : read();
  }
  if (size < first_.size()) return arrived({.kind = Piece::Kind::data, .bytes = {first_.data(), size}, .arrived = now});
  // More waits.
  std::shared_ptr<char[]> buffer{new char[chunk]};
  std::copy_n(first_.data(), size, buffer.get());
  const auto more = ::recv(from_.native_handle(), buffer.get() + size, chunk - size, MSG_DONTWAIT);
  if (more > 0) {
    counters_.received_bytes += static_cast<std::size_t>(more);
    size += static_cast<std::size_t>(more);
  }
  arrived({.kind = Piece::Kind::data, .bytes = {std::move(buffer), size}, .arrived = now});
}

void Link::splice_on() {
  if (over_ || reading_ || ended_) return;
  if (!spliced()) {
    pipes_.give_back(std::exchange(pipe_, {}));
    return read();
  }
  if (!pipe_) pipe_ = pipes_.take();
  if (!pipe_) return read();
  for (std::size_t moved = 0; moved < at_once;) {
    const auto got = ::splice(from_.native_handle(), nullptr, pipe_.write.get(), nullptr, at_once, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (got == 0 || (got < 0 && would_block(errno))) {  // the end is read again where ends are read
      pipes_.give_back(std::exchange(pipe_, {}));
      return read();
    }
    if (got < 0) return owner_.broken(from_);
    pipe_.holds = static_cast<std::size_t>(got);
    counters_.received_bytes += pipe_.holds;
    moved += pipe_.holds;
    if (!empty_pipe()) return;
  }
  asio::post(from_.get_executor(), [this, alive = owner_.keep_alive()] { splice_on(); });
}

// False where the rest has to wait, or the connection broke.
bool Link::empty_pipe() {
  while (pipe_.holds) {
    const auto sent = ::splice(pipe_.read.get(), nullptr, to_.native_handle(), nullptr, pipe_.holds, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
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
  for (std::size_t i = 0; i < stages_.size(); ++i) hand_on(i, now);
  pumping_ = false;
  write_out();
  if (over_) return;
  const bool waits = std::any_of(stages_.begin(), stages_.end(), [](auto& stage) { return stage->holds(); });
  if (waits && waiting_since_ == Clock::time_point{}) waiting_since_ = now;
  if (!waits) waiting_since_ = {};
  set_timer();
}

void Link::tell_waiting(Clock::time_point now) {
  if (waiting_since_ == Clock::time_point{}) return;
  counters_.waiting_s += std::chrono::duration<double>(now - waiting_since_).count();
  waiting_since_ = now;
}

void Link::set_timer() {
  auto next = Clock::time_point::max();
  const auto now = Clock::now();
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const auto due = stages_[i]->due();
    // What is due and still there is held back by what is behind it, which will say when it has room.
    if (due && *due > now) next = std::min(next, *due);
    if (due && *due <= now && (i + 1 == stages_.size() ? out_bytes_ < most_waiting : !stages_[i + 1]->full())) next = now;
  }
  if (next == timer_at_) return;
  timer_at_ = next;
  if (next == Clock::time_point::max()) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(next);
  timer_.async_wait([this, alive = owner_.keep_alive()](auto error) {
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
    case Piece::Kind::data: break;
    case Piece::Kind::end: {
      boost::system::error_code gone;
      to_.shutdown(Socket::shutdown_send, gone);
      if (!stages_.empty()) {
        ++counters_.ends;
        counters_.end_held_sum_ms += std::chrono::duration<double, std::milli>(Clock::now() - piece.arrived).count();
      }
      out_.pop_front();
      over_ = true;
      owner_.over(*this);
      return false;
    }
    case Piece::Kind::close: owner_.end(false); return false;
    case Piece::Kind::reset: owner_.end(true); return false;
    case Piece::Kind::farewell: owner_.farewell(); return false;
  }
  const auto sent = ::send(to_.native_handle(), piece.bytes.data(), piece.bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
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
  if (waiting_since_ != Clock::time_point{}) counters_.waiting_bytes += size;
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
  for (auto [ring, value] : {std::pair{&counters_.held_ms, held}, {&counters_.rolled_ms, Milliseconds{piece.rolled}}, {&counters_.late_ms, Milliseconds{now - piece.leaves}}})
    if (ring->size() < remembered)
      ring->push_back(value.count());
    else
      (*ring)[counters_.pieces % remembered] = value.count();
  ++counters_.pieces;
}

void Link::wait_until_writable() {
  if (writing_) return;
  writing_ = true;
  to_.async_wait(Socket::wait_write, [this, alive = owner_.keep_alive()](auto error) {
    writing_ = false;
    if (over_ || error == asio::error::operation_aborted) return;
    if (error) return owner_.broken(to_);
    if (!empty_pipe()) return;
    pump();
    if (over_ || writing_) return;
    if (pipe_ && spliced()) return splice_on();
    if (pipe_) pipes_.give_back(std::exchange(pipe_, {}));
    read();
  });
}

}  // namespace squall::proxy
