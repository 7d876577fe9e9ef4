#include <gtest/gtest.h>

#include "injector/host/match/packet_match.hpp"

namespace squall {
namespace {

TEST(Prefix, reads_addresses_and_networks_and_clears_what_does_not_count) {
  EXPECT_EQ(to_string(*parse_prefix("10.1.2.3/8")), "10.0.0.0/8");
  EXPECT_EQ(to_string(*parse_prefix("10.1.2.3/32")), "10.1.2.3");
  EXPECT_EQ(to_string(*parse_prefix("fd00:1::1/17")), "fd00::/17");
  EXPECT_EQ(to_string(*parse_prefix("0.0.0.0/0")), "0.0.0.0/0");
  for (auto* wrong : {"", "10.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "::1/-1"})
    EXPECT_EQ(parse_prefix(wrong).error(),
              std::string("expected an address or a network such as 10.0.0.0/8 or fd00::/8, got \"") + wrong +
                  "\"");
}

TEST(Prefix, an_ipv4_address_within_ipv6_is_that_address) {
  EXPECT_EQ(to_string(*parse_prefix("::ffff:10.1.2.3")), "10.1.2.3");
  EXPECT_EQ(to_string(*parse_prefix("::ffff:10.1.2.3/104")), "10.0.0.0/8");
  EXPECT_EQ(to_string(*parse_prefix("::ffff:0:0/96")), "0.0.0.0/0");
  EXPECT_EQ(*parse_prefix("::ffff:a01:203"), *parse_prefix("10.1.2.3"));
  EXPECT_TRUE(parse_prefix("::ffff:10.1.2.3/95")->v6);
  EXPECT_TRUE(parse_prefix("::fffe:10.1.2.3")->v6);
}

TEST(Prefix, covers_what_is_within_it) {
  const auto covers = [](const char* network, const char* other) {
    return parse_prefix(network)->covers(*parse_prefix(other));
  };
  EXPECT_TRUE(covers("169.254.0.0/16", "169.254.169.254"));
  EXPECT_TRUE(covers("0.0.0.0/0", "169.254.169.254"));
  EXPECT_TRUE(covers("fd00::/9", "fd00:ec2::254"));
  EXPECT_TRUE(covers("10.0.0.1", "10.0.0.1"));
  EXPECT_FALSE(covers("10.0.0.0/9", "10.0.0.0/8"));
  EXPECT_FALSE(covers("10.0.0.0/9", "10.128.0.1"));
  EXPECT_FALSE(covers("::/0", "10.0.0.1"));
}

}  // namespace
}  // namespace squall
