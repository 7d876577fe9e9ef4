// Thousands of applies and undos in one injector after another, some of them cut short by SIGKILL: nothing
// may be left, and nothing may grow.
#pragma once

#include <cstdint>

#include "tests/crash/stage.hpp"

namespace squall::crash {

// Random, and the same for the same seed. The number of things wrong, each printed.
int soak(Stage&, std::size_t cycles, std::uint64_t seed);

}  // namespace squall::crash
