#include "scenarios/schema/times.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Times, are_told_in_utc_to_the_millisecond) {
  EXPECT_EQ(rfc3339(1'795'663'902'123'999'999), "2026-11-26T03:31:42.123Z");
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace squall
