// Takes an overlay away wherever it is seen: from every mount namespace that a process of this host is in.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace squall::overlay {

// The words after squall-injector of the processes of an overlay; its mounts have `tag` for a source.
inline constexpr const char* command = "overlay";

struct Detached {
  int mounts = 0;     // how many there were
  std::string error;  // why one is left; "" where none is
};
// Lazily (MNT_DETACH of umount(2)): whoever has a file open through it keeps it, and its worker serves them
// to the end.
Detached detach(const std::string& tag);
// Whether a mount of this tag is seen by anybody.
bool attached(const std::string& tag);

// The keeper and worker of an overlay, by their command line.
std::vector<pid_t> processes_of(const std::string& tag);
// Ends all rules of the overlay and everything that is held back, whoever called for it; false where none
// runs.
bool let_go_of(const std::string& tag);

}  // namespace squall::overlay
