#pragma once

#include <string>

namespace squall::test {

/// Where this checkout is, and where its binaries are built.
std::string source_dir();
std::string bin_dir();

}  // namespace squall::test
