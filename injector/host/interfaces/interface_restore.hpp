// Puts a device up again and adds what it had and does not have now.
#pragma once

#include <string>
#include <vector>

#include "injector/host/interfaces/interface_state.hpp"

namespace squall::links {

// What could not be added.
struct Absent {
  Kept thing;
  bool conflict = false;  // somebody has put another one in its place
  std::string why;
};

struct BroughtBack {
  bool changed = false;
  std::vector<Absent> absent;
};

// A nexthop object needs a carrier: a patient caller gives that 400 ms to come. Throws std::runtime_error
// where the device cannot be put up.
BroughtBack bring_back(const InterfaceState&, bool patient);

}  // namespace squall::links
