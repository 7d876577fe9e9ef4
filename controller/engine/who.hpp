// Who sits at this process: for the record, and for others on a shared account.
#pragma once

#include <string>

namespace squall {

// "alice as root, on pts/3, by ssh from 10.0.0.5": the login name, whom they act as where that is another,
// terminal and ssh client; only what is known.
std::string who_am_i();

}  // namespace squall
