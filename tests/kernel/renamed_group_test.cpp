// A limit of a group that somebody has given another name since (cgroup v1 lets them).
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/storage/device_limit.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/read_file.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

std::string block_io_hierarchy() {
  for (auto& mount : read_mounts())
    if (mount.type == "cgroup" && ("," + mount.super_options + ",").find(",blkio,") != std::string::npos)
      return mount.point;
  return "";
}

TEST(RenamedGroup, loses_its_limit_all_the_same) {
  const auto root = block_io_hierarchy();
  const auto folder = root + "/squall-test-" + std::to_string(::getpid()), later = folder + "-later";
  if (root.empty() || ::geteuid() != 0 || !fs::create_directory(folder))
    GTEST_SKIP() << "no blkio of cgroup v1 here";
  std::string device;
  for (auto& disk : entries("/sys/block"))
    device = std::string(trimmed(read_file(disk / "dev").value_or("")));
  const auto where = cgroup::device_limit(cgroup::Version::v1, folder, device, cgroup::Limited::write_rate);
  Transaction transaction;
  cgroup::limit_device(transaction, where, cgroup::Ladder{1'000'001}, 1, {});
  auto& change = transaction.changes().front();
  change.act();
  const auto limit_of = [](const std::string& group) {
    return std::string(trimmed(read_file(group + "/blkio.throttle.write_bps_device").value_or("gone")));
  };
  EXPECT_NE(limit_of(folder), "");
  fs::rename(folder, later);
  const auto undone = find_undo_verb(change.inverse->verb)->carry_out(change.inverse->with);
  EXPECT_EQ(undone.outcome, UndoOutcome::undone) << undone.detail;
  EXPECT_EQ(limit_of(later), "");
  fs::remove(later);
}

}  // namespace
}  // namespace squall
