// The guardian: a process of its own, started and armed before the first change, that undoes everything when the injector
// dies, hangs or lets its lease run out. It knows the journal, a pidfd on the injector, and a pipe with its heartbeat.
#pragma once

#include <cstdint>
#include <string>

#include "injector/host/process.hpp"

namespace squall {

// How long the injector may be silent while faults are in force before it is taken for hung and killed.
inline constexpr std::int64_t heartbeat_patience_ns = 3'000'000'000;

// The injector's end.
class Guardian {
 public:
  // Starts the guardian and returns when it is armed; throws std::runtime_error where it cannot.
  explicit Guardian(const std::string& journal);
  ~Guardian();  // lets it go: it sees the end of the pipe and that nothing is left to do
  Guardian(const Guardian&) = delete;
  // Tells it that we are alive, and whether faults are in force.
  void beat(bool in_force);
  bool alive() const;
  // Readable when the guardian has ended.
  int pidfd() const { return pidfd_.get(); }

 private:
  Fd pipe_, pidfd_;
  pid_t pid_ = -1;
};

// The guardian's whole life: stdin is the pipe, stdout gets one byte when it is armed. Returns its exit code.
int guard(const std::string& journal, pid_t injector, std::uint64_t start_ticks);

}  // namespace squall
