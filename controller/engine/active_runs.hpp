// Which drills this user is running now, so that `squall halt` finds them from any terminal and any folder.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace squall {

// Registers this process for as long as it lives; its entry is recognised as stale after a crash.
class ActiveRun {
 public:
  ActiveRun(const std::string& scenario, const std::string& folder);
  ~ActiveRun();
  ActiveRun(const ActiveRun&) = delete;

 private:
  std::string path_;
};

struct RunningDrill {
  pid_t pid = 0;
  std::string scenario, folder;
};

// The drills that are really running: the pid lives and started when the entry says.
std::vector<RunningDrill> running_drills();

}  // namespace squall
