// The guardian: a process of its own, started and armed before the first change, that undoes everything when
// the injector dies, hangs or lets its lease run out. It holds the journal open, whatever becomes of its
// name, a pidfd on the injector, and a socket with its heartbeat.
#pragma once

#include <string>

#include "injector/system/process.hpp"

namespace squall {

// What a heartbeat says, one byte each.
enum class Beat : char {
  idle = 'i',      // nothing is in force: the guardian sleeps until the injector dies
  in_force = 'f',  // silence for 2 s means that the injector hangs: it is killed, and everything undone
  busy = 'b',      // in force, and about to do something that may take a while: 10 s
  over = 'o',      // it did what it could and ends: the guardian ends too
};
inline constexpr int beat_period_ms = 500;

// The injector's end.
class Guardian {
 public:
  // Starts the guardian and returns when it is armed; throws std::runtime_error where it cannot.
  explicit Guardian(const std::string& journal);
  ~Guardian();  // lets it go: it ends without touching the host
  Guardian(const Guardian&) = delete;
  void beat(Beat);
  // Gives it the journal's descriptor to hold; throws std::runtime_error where it does not take it.
  void hold(int journal);
  bool alive() const;
  // Readable when the guardian has ended.
  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }

 private:
  Fd socket_, pidfd_;
  pid_t pid_ = -1;
  Beat last_ = Beat::idle;
};

// The guardian's whole life: stdin is the socket, stdout gets one byte when it is armed. Returns its exit
// code: 0, 5 where it could not guard, 6 where something is left.
int guard(const std::string& journal, pid_t injector, std::uint64_t start_ticks);

}  // namespace squall
