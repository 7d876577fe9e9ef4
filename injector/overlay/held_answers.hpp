// Rules, and answers that wait for their time. What is to be answered later was done already: only who asked
// waits.
#pragma once

#include <functional>
#include <mutex>
#include <queue>
#include <random>
#include <vector>

#include "injector/overlay/shared.hpp"

namespace squall::overlay {

class HeldAnswers {
 public:
  explicit HeldAnswers(Shared& shared) : shared_(shared), random_(shared.seed) {}
  struct Fate {
    int error = 0;
    std::int64_t delay_ns = 0;  // from when it is done until it is answered
  };
  // Counts an operation of this process and says what happens to it.
  Fate fate(Kind, int pid);
  void answer(const Fate&, std::function<void()>);
  void run();  // a thread's whole life: answers what is due

 private:
  struct Held {
    std::int64_t due_ns;
    std::function<void()> answer;
    bool operator<(const Held& other) const { return due_ns > other.due_ns; }
  };
  void count(int pid);

  Shared& shared_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::priority_queue<Held> held_;
};

}  // namespace squall::overlay
