#include "injector/overlay/held_answers.hpp"

#include <algorithm>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "injector/system/process.hpp"

namespace squall::overlay {

void HeldAnswers::count(int pid) {
  for (std::size_t i = 0; i < 64; ++i) {
    auto& one = shared_.processes[(static_cast<std::size_t>(pid) + i) % most_processes];
    int nobody = 0;
    if (one.pid == pid || one.pid.compare_exchange_strong(nobody, pid) || nobody == pid) {
      ++one.operations;
      return;
    }
  }
}

HeldAnswers::Fate HeldAnswers::fate(Kind kind, int pid) {
  const bool probe = pid == shared_.uncounted_pid;
  if (!probe) {
    ++shared_.counts[static_cast<std::size_t>(kind)].seen;
    count(pid);
  }
  auto& rule = shared_.rules[static_cast<std::size_t>(kind)];
  const auto delay = rule.delay_ns.load(), jitter = rule.jitter_ns.load();
  Fate out{rule.error.load(), 0};
  if (shared_.let_go || (!delay && !out.error)) return {};
  {
    const std::lock_guard lock{mutex_};
    if (std::uniform_int_distribution<std::uint32_t>{0, 999'999}(random_) >= shared_.share_ppm) return {};
    const auto more = jitter ? std::uniform_int_distribution<std::int64_t>{-jitter, jitter}(random_) : 0;
    if (delay) out.delay_ns = std::max<std::int64_t>(delay + more, 1);
  }
  if (!probe) ++shared_.counts[static_cast<std::size_t>(kind)].met;
  return out;
}

void HeldAnswers::answer(const Fate& fate, std::function<void()> answer) {
  if (!fate.delay_ns) return answer();
  const auto due = monotonic_ns() + fate.delay_ns;
  bool first = false;
  {
    const std::lock_guard lock{mutex_};
    first = held_.empty() || due < held_.top().due_ns;
    held_.push({due, std::move(answer)});
  }
  if (first) wake(shared_);
}

void HeldAnswers::run() {
  for (;;) {
    const auto seen = shared_.wake.load();
    std::vector<std::function<void()>> due;
    std::int64_t next = 0;
    {
      const std::lock_guard lock{mutex_};
      const auto now = monotonic_ns();
      while (!held_.empty() && (held_.top().due_ns <= now || shared_.let_go)) {
        due.push_back(held_.top().answer);
        held_.pop();
      }
      if (!held_.empty()) next = held_.top().due_ns;
    }
    for (auto& answer : due)
      answer();
    if (!due.empty()) continue;
    // FUTEX_WAIT_BITSET waits until a moment of CLOCK_MONOTONIC (futex(2)).
    const timespec until{next / 1'000'000'000, next % 1'000'000'000};
    ::syscall(SYS_futex, static_cast<void*>(&shared_.wake), FUTEX_WAIT_BITSET, seen, next ? &until : nullptr,
              nullptr, FUTEX_BITSET_MATCH_ANY);
  }
}

}  // namespace squall::overlay
