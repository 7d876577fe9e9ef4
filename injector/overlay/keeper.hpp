// The keeper of an overlay: a process of its own that mounts it and starts its worker, and another one where
// that is killed. They share one table of descriptors, so /dev/fuse, open files and locks outlive a worker,
// and nobody sees an error. Where the injector dies, it takes the overlay away by itself.
#pragma once

#include <string>

namespace squall::overlay {

// Descriptors that a keeper is started with.
enum Given : int {
  lifeline = 0,  // at its end the injector is dead
  ready = 1,     // gets "!" when the overlay is in place, or why it is not
  memory = 3,    // a Shared
  folder = 4,    // O_PATH, in the mount namespace that is meant
  in = 5,        // that mount namespace
};

// A keeper's whole life: 0 when nobody uses the overlay any more.
int keep(const std::string& tag);

}  // namespace squall::overlay
