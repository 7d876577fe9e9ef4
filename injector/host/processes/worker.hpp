// A process of our own that does a fault's work: it is killed by the kernel as soon as the injector dies
// (PR_SET_PDEATHSIG, prctl(2)), so it needs no journal.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/change/transaction.hpp"
#include "injector/system/process.hpp"

namespace squall {

class Worker {
 public:
  // The arguments behind `squall-injector worker`. Nothing runs before start().
  explicit Worker(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}
  ~Worker() { end(); }
  Worker(const Worker&) = delete;
  // By the thread that lives as long as the injector. Throws std::system_error.
  void start();
  void end();  // and waits for it
  pid_t pid() const { return pid_; }
  // The numbers that it has written since, one a line.
  std::vector<std::int64_t> heard();
  // Still there; it ends by itself only where something is wrong.
  bool alive() const;

 private:
  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
  Fd from_;
  std::string text_;
};

// Queues the start; the worker ends with the change, or with the injector.
void start_worker(Transaction&, Worker&, const std::string& what);

// The other side: what `squall-injector worker` does, until it is killed. 2 where the arguments are wrong.
//   burn SHARE CORE…    uses SHARE (0 to 1) of each of these cores, at the highest priority
//   hold BYTES RATE OOM holds so many bytes, taken at RATE bytes per second (0: at once); OOM is
//   oom_score_adj touch FOLDER        writes to a file without a name there, again and again, and says when
//   that was done
int work(const std::vector<std::string>& arguments);

}  // namespace squall
