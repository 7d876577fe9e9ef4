#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/host/storage/disk_layers.hpp"

namespace squall::block {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Mount overlay(const std::string& options) {
  Mount out;
  out.type = "overlay";
  out.super_options = options;
  return out;
}

TEST(OverlayLayers, that_of_writes_comes_first_then_the_lower_ones) {
  EXPECT_THAT(overlay_layers(overlay("rw,lowerdir=/a:/b,upperdir=/up,workdir=/work")),
              ElementsAre("/up", "/a", "/b"));
  EXPECT_THAT(overlay_layers(overlay("ro,lowerdir=/a")), ElementsAre("/a"));
}

TEST(OverlayLayers, of_newer_mounts_and_those_that_hold_only_data) {
  EXPECT_THAT(overlay_layers(overlay("rw,lowerdir+=/a,lowerdir+=/b,datadir+=/data,upperdir=/up")),
              ElementsAre("/up", "/a", "/b", "/data"));
  EXPECT_THAT(overlay_layers(overlay("rw,lowerdir=/a::/data")), ElementsAre("/a", "/data"));
}

TEST(OverlayLayers, names_may_hold_colons_commas_and_blanks) {
  EXPECT_THAT(overlay_layers(overlay("rw,lowerdir=/a\\134:b:/c\\040d,upperdir=/e\\054f")),
              ElementsAre("/e,f", "/a:b", "/c d"));
}

TEST(OverlayLayers, nothing_else_has_any) {
  auto mount = overlay("rw,lowerdir=/a");
  mount.type = "ext4";
  EXPECT_THAT(overlay_layers(mount), IsEmpty());
}

}  // namespace
}  // namespace squall::block
