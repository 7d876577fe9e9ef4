#include "injector/overlay/once.hpp"

#include <cerrno>

namespace squall::overlay {
namespace {

// FUSE_UNIQUE_RESEND of linux/fuse.h, newer than the headers of Debian 12.
constexpr std::uint64_t resent = std::uint64_t{1} << 63;

thread_local std::uint64_t current = 0;

enum State : int { begun = 0, performed = 1 };

Performed* find(Shared& shared, std::uint64_t unique, std::uint64_t holding) {
  for (std::size_t i = 0; i < most_performed; ++i) {
    auto& one = shared.performed[(unique / 2 + i) % most_performed];
    auto expected = holding;
    if (one.unique.compare_exchange_strong(expected, unique)) return &one;
    if (holding && !expected && i > 64) return nullptr;
  }
  return nullptr;
}

}  // namespace

void begin_request(std::uint64_t unique) {
  current = unique;
}

bool asked_again() {
  return (current & resent) != 0;
}

Once::Once(Shared& shared) {
  const auto unique = current & ~resent;
  if (asked_again()) note_ = find(shared, unique, unique);
  known_ = note_ != nullptr;
  if (note_) return;
  note_ = find(shared, unique, 0);
  if (!note_) return;
  note_->before = -1;
  note_->state = begun;
}

Once::~Once() {
  if (!note_) return;
  note_->state = begun;
  note_->before = -1;
  note_->unique = 0;
}

std::int64_t Once::size_before(std::int64_t now) {
  if (!note_) return now;
  if (!known_ || note_->before < 0) note_->before = now;
  return note_->before;
}

int Once::error_of(const std::function<long()>& act, int tolerated) {
  if (known_ && note_->state == performed) return note_->error;
  int error = act() < 0 ? errno : 0;
  if (known_ && error == tolerated) error = 0;
  if (note_) {
    note_->error = error;
    note_->state = performed;
  }
  return error;
}

}  // namespace squall::overlay
