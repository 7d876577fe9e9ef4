// Which drills this account is running now, so that `squall halt` finds them from any terminal and any
// folder. Entries are files in a folder that nobody else can have made or write to.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace squall {

// Registers this process for as long as it lives; its entry is recognised as stale after a crash. Throws
// std::runtime_error where no folder is safe: then nobody could halt the drill.
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
  std::string scenario, folder, started_by;
  std::string entry;  // its file
};

struct RunningDrills {
  std::vector<RunningDrill> drills;   // that really run: the pid lives and started when the entry says
  std::vector<std::string> problems;  // folders that were not looked into, and why
};
RunningDrills running_drills();

// Why no drill could be registered now; "" where one can.
std::string registry_problem();

// Who halts the drill, told to it beside the signal; and what it was told.
void say_who_halts(const RunningDrill&);
std::string who_halted_us();

}  // namespace squall
