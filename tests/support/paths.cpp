#include "tests/support/paths.hpp"

namespace squall::test {

std::string source_dir() {
  return SQUALL_SOURCE_DIR;
}
std::string bin_dir() {
  return SQUALL_BIN_DIR;
}

}  // namespace squall::test
