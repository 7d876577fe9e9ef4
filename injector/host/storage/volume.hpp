// A mounted file system as a whole: hanging it (FIFREEZE, ioctl_fsfreeze in fs/ioctl.c), and what of ours
// lies on it.
#pragma once

#include <string>

#include "injector/change/transaction.hpp"

namespace squall::volume {

// Why a fault must not hang or fill the file system of that path, for a person: our own journal, executable
// or logs lie there, or a loop device's image; "" where nothing of the kind does.
std::string needed_by(const std::string& path);

// Its device, "7:0": what two faults on one file system cannot share, whichever path each was given.
std::string device_number(const std::string& path);

// Every write waits until it is thawed; reading goes on. The inverse thaws it, also where the injector is
// dead. Throws std::system_error.
void freeze(Transaction&, const std::string& path);

}  // namespace squall::volume
