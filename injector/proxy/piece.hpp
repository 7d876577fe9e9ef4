// What travels through a proxied connection: bytes, and the ways a connection ends.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>

namespace squall::proxy {

using Clock = std::chrono::steady_clock;

// Part of a buffer that other parts may share: cutting copies nothing.
class Bytes {
 public:
  Bytes() = default;
  Bytes(std::shared_ptr<char[]> buffer, std::size_t size) : buffer_(std::move(buffer)), size_(size) {}
  Bytes(const char* data, std::size_t size) : buffer_(new char[size]), size_(size) {
    std::copy_n(data, size, buffer_.get());
  }

  const char* data() const { return buffer_.get() + begin_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // The first `size` bytes, which are gone from here.
  Bytes cut(std::size_t size) {
    Bytes out = *this;
    out.size_ = std::min(size, size_);
    begin_ += out.size_;
    size_ -= out.size_;
    return out;
  }

 private:
  std::shared_ptr<char[]> buffer_;
  std::size_t begin_ = 0, size_ = 0;
};

struct Piece {
  enum class Kind {
    data,
    end,       // the sender sends no more (FIN)
    close,     // the connection is closed in both directions
    reset,     // the same with a TCP reset (RFC 9293 ABORT) to both peers
    farewell,  // to a client: the same as close, once it has sent what it was sending
  } kind = Kind::data;
  Bytes bytes;
  Clock::time_point arrived;      // when it came to the proxy
  Clock::time_point leaves = {};  // when it may leave the stage that holds it
  std::chrono::nanoseconds rolled{
      0};                // the delays that stages chose for it, whatever the order makes of them
  bool measured = true;  // how long it was held is part of the statistics
};

}  // namespace squall::proxy
