// One life of an injector and its guardian under ptrace(2), ended by SIGKILL right before a chosen system
// call.
#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

namespace squall::crash {

// Steps are system calls that may change the host or the journal, counted from 1 in each role; 0: it is not
// killed.
struct KillPoint {
  unsigned injector = 0;
  unsigned guardian = 0;  // counted from the injector's death where that is killed too
  unsigned recovery = 0;  // of the `recover` that follows where both were killed
  unsigned hang_up = 0;   // the caller hangs up after so many requests, as a killed squall does
  std::string to_string() const;
};

struct Life {
  unsigned injector_steps = 0, guardian_steps = 0;
  bool injector_killed = false, guardian_killed = false;
  double undone_after_ms = 0;  // from the injector's SIGKILL to the end of the last process
  std::string trouble;         // what went wrong in a way that no kill explains: a refusal, a hang
};

// Starts `command`, sends the requests one after the other over its standard input, each once the one before
// is answered, then closes it; returns when it and everything it started has ended, or after 20 s with
// `trouble`.
Life live(const std::vector<std::string>& command, const std::vector<boost::json::object>& requests,
          const KillPoint&);

}  // namespace squall::crash
