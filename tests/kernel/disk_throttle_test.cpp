// disk.throttle on a loop device and cgroups of the test's own. The same tests run on cgroup v1 (most build
// machines) and, in a guest, on v2 (tests/lab).
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "injector/host/snapshot/snapshot.hpp"
#include "injector/host/storage/device_limit.hpp"
#include "injector/system/read_file.hpp"
#include "tests/kernel/own_disk.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using testing::DiskWorker;
using ::testing::HasSubstr;
using testing::OwnCgroup;
using testing::OwnDisk;
using testing::RunFault;
using testing::Use;

constexpr double mebibyte = 1 << 20;

class DiskThrottle : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (auto hierarchy = cgroup::io_hierarchy(); !hierarchy) GTEST_SKIP() << hierarchy.error();
    version = cgroup::io_hierarchy()->version;
    disk = std::make_unique<OwnDisk>();
    group = std::make_unique<OwnCgroup>("a");
  }
  bool v2() const { return version == cgroup::Version::v2; }
  object path() const { return {{"path", disk->folder()}}; }
  // What the write-rate file holds when only this is limited.
  std::string line(std::uint64_t rate) const {
    return v2() ? fmt::format("{} rbps=max wbps={} riops=max wiops=max", disk->id(), rate)
                : fmt::format("{} {}", disk->id(), rate);
  }

  cgroup::Version version{};
  std::unique_ptr<OwnDisk> disk;
  std::unique_ptr<OwnCgroup> group;
};

// Polls as the session does.
Dose watch(RunFault& fault, std::chrono::milliseconds time) {
  for (auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(100ms);
    fault->measure();
  }
  return fault->measure();
}

double measured(const Dose& dose, const char* name) {
  return dose.measured.contains(name) ? dose.measured.at(name).to_number<double>() : -1;
}

std::string text(const Dose& dose) {
  return boost::json::serialize(dose.json());
}

// Both the worker's own count and the dose are near the limit, the latter in its own unit.
void expect_throttled(RunFault& fault, const DiskWorker& worker, double rate, const char* name,
                      double per_second) {
  worker.bytes_per_second(300ms);  // what the kernel lets through at once
  auto from = std::chrono::steady_clock::now();
  auto operations = worker.operations();
  auto dose = watch(fault, 2500ms);
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  auto seen = static_cast<double>(worker.operations() - operations) * 64 * 1024 / seconds;
  EXPECT_NEAR(seen / rate, 1, 0.3);
  EXPECT_NEAR(measured(dose, name) / per_second, 1, 0.25) << text(dose);
  EXPECT_TRUE(dose.verified) << text(dose);
  EXPECT_GE(dose.samples, 2U);
}

TEST_F(DiskThrottle, slows_direct_writes_to_the_prescribed_rate_and_frees_them_at_once) {
  DiskWorker worker(*disk, *group, Use::direct_write);
  auto before = worker.bytes_per_second(300ms);
  ASSERT_GT(before, 8 * mebibyte);
  RunFault fault("disk.throttle", {{"write_rate", "2MiB/s"}}, path());
  fault.apply();
  expect_throttled(fault, worker, 2 * mebibyte, "write_bytes_per_s", 2 * mebibyte);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_EQ(group->write_limits(), "");
  EXPECT_GT(worker.bytes_per_second(500ms), 2 * 2 * mebibyte);
}

TEST_F(DiskThrottle, slows_synced_writes) {
  DiskWorker worker(*disk, *group, Use::synced_write);
  RunFault fault("disk.throttle", {{"write_rate", "2MiB/s"}}, path());
  fault.apply();
  expect_throttled(fault, worker, 2 * mebibyte, "write_bytes_per_s", 2 * mebibyte);
}

TEST_F(DiskThrottle, slows_direct_reads) {
  DiskWorker worker(*disk, *group, Use::direct_read);
  RunFault fault("disk.throttle", {{"read_rate", "4MiB/s"}}, path());
  fault.apply();
  expect_throttled(fault, worker, 4 * mebibyte, "read_bytes_per_s", 4 * mebibyte);
}

TEST_F(DiskThrottle, limits_operations_per_second) {
  DiskWorker worker(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_iops", "40/s"}}, path());
  fault.apply();
  expect_throttled(fault, worker, 40 * 64 * 1024, "write_iops", 40);
}

TEST_F(DiskThrottle, may_limit_both_directions_each_with_its_own_dose) {
  DiskWorker writer(*disk, *group, Use::direct_write), reader(*disk, *group, Use::direct_read);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}, {"read_iops", 50}}, path());
  fault.apply();
  auto dose = watch(fault, 3000ms);
  EXPECT_TRUE(dose.verified) << text(dose);
  EXPECT_NEAR(measured(dose, "write_bytes_per_s") / mebibyte, 1, 0.3) << text(dose);
  EXPECT_NEAR(measured(dose, "read_iops"), 50, 15) << text(dose);
}

TEST_F(DiskThrottle, finds_the_cgroup_by_path_device_and_process) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  auto pid = worker.pid();
  for (auto& on : std::vector<object>{path(), object{{"device", disk->device()}},
                                      object{{"device", disk->name()}}, object{{"device", disk->id()}},
                                      object{{"pid", pid}}, object{{"pid", pid}, {"path", disk->folder()}}}) {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, on);
    auto said = boost::json::serialize(on);
    // A process alone stands for every disk that it has files on: its output may go to another one.
    if (on.contains("path") || on.contains("device")) EXPECT_EQ(fault->targets().size(), 1U) << said;
    auto group_text =
        fmt::format("{} ({}) for the cgroup {} (", disk->name(), disk->id(), group->group().path);
    EXPECT_THAT(fault->targets(), ::testing::Contains(::testing::AllOf(HasSubstr(group_text),
                                                                       HasSubstr(fmt::format("[{}]", pid)))))
        << said;
  }
}

TEST_F(DiskThrottle, a_mapped_file_is_use_enough) {
  DiskWorker worker(*disk, *group, Use::holds_mapped);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  EXPECT_THAT(fault->targets().front(), HasSubstr(fmt::format("[{}]", worker.pid())));
}

TEST_F(DiskThrottle, says_that_nobody_is_there) {
  try {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
    FAIL() << "there is no process on the disk";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), HasSubstr(fmt::format("no process but Squall's own has a file open on {} ({})",
                                                    disk->name(), disk->id())));  // the device itself, here
  }
}

TEST_F(DiskThrottle, undo_restores_the_previous_limit_exactly) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  RunFault enable("disk.throttle", {{"write_rate", "8MiB/s"}},
                  path());  // on v2: switches io on below the root
  enable.apply();
  auto before = snapshot_host();
  {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}, {"read_rate", "1MiB/s"}, {"write_iops", 100}},
                   path());
    fault.apply();
    EXPECT_NE(differences(before, snapshot_host()).size(), 0U);
    EXPECT_EQ(fault.undo(true), "");
  }
  auto left = differences(before, snapshot_host());
  std::erase_if(left, [&](auto& text) { return text.find(group->group().path) == std::string::npos; });
  EXPECT_THAT(left, ::testing::IsEmpty());
  EXPECT_EQ(group->write_limits(), line(8 << 20));
}

TEST_F(DiskThrottle, never_loosens_a_limit_that_is_there) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  RunFault first("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  first.apply();
  RunFault fault("disk.throttle", {{"write_rate", "8MiB/s"}}, path());
  EXPECT_THAT(fault->limits(), ::testing::Contains(HasSubstr("no looser than 8388608")));
  fault.apply();
  EXPECT_EQ(group->write_limits(), line(1 << 20));
}

TEST_F(DiskThrottle, undo_leaves_what_somebody_changed_since_and_says_so) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  auto name = v2() ? "wbps=" : "";
  group->write(fmt::format("{} {}5000000", disk->id(), name));
  EXPECT_THAT(fault.undo(), HasSubstr("is 5000000, neither our 1048576 nor the no limit before it"));
  EXPECT_EQ(group->write_limits(), line(5000000));
}

TEST_F(DiskThrottle, undo_is_idempotent_and_copes_with_a_cgroup_that_is_gone) {
  auto worker = std::make_unique<DiskWorker>(*disk, *group, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  auto inverses = fault.inverses();
  EXPECT_EQ(fault.undo(), "");
  for (auto& inverse : inverses)
    EXPECT_EQ(find_undo_verb(inverse.verb)->carry_out(inverse.with).outcome, UndoOutcome::already);
  fault.apply();
  worker.reset();
  group->remove();
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(DiskThrottle, undo_restores_the_previous_limit_when_apply_fails_halfway) {
  OwnCgroup other("b");
  DiskWorker worker(*disk, *group, Use::holds_open);
  auto doomed = std::make_unique<DiskWorker>(*disk, other, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  ASSERT_EQ(fault->targets().size(), 2U);
  EXPECT_THAT(fault->limits(), ::testing::Contains("each of the 2 cgroups has the limit for itself"));
  doomed.reset();
  other.remove();
  EXPECT_THROW(fault.apply(), std::runtime_error);
  EXPECT_EQ(group->write_limits(), "");
}

TEST_F(DiskThrottle, a_ramp_tightens_step_by_step_and_undo_knows_every_step) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  for (double level : {0.0, 0.3, 0.77, 1.0}) {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
    fault->set_level(0);
    fault.apply();
    auto loosest =
        cgroup::device_limit(version, group->group().folder, disk->id(), cgroup::Limited::write_rate);
    EXPECT_GT(cgroup::read_limit(loosest)->value(), 900ULL << 20);
    fault->set_level(level);
    EXPECT_EQ(cgroup::read_limit(loosest)->value(), cgroup::Ladder(1 << 20).at(level, {}));
    EXPECT_EQ(fault.undo(true), "") << level;
    EXPECT_EQ(group->write_limits(), "");
  }
}

TEST_F(DiskThrottle, a_ramp_does_not_write_over_somebody_else) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault->set_level(0);
  fault.apply();
  group->write(fmt::format("{} {}5000000", disk->id(), v2() ? "wbps=" : ""));
  fault->set_level(1);
  EXPECT_EQ(group->write_limits(), line(5000000));
  EXPECT_THAT(fault.undo(), HasSubstr("somebody changed it since"));
}

TEST_F(DiskThrottle, an_idle_target_is_not_a_verified_dose) {
  DiskWorker worker(*disk, *group, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  auto dose = watch(fault, 1300ms);
  EXPECT_FALSE(dose.verified);
  EXPECT_THAT(dose.reason, HasSubstr("no write reached " + disk->name())) << text(dose);
}

TEST_F(DiskThrottle, reads_that_the_cache_absorbs_are_not_a_verified_dose) {
  DiskWorker worker(*disk, *group, Use::cached_read, 64 * 1024, 1);
  RunFault fault("disk.throttle", {{"read_rate", "1MiB/s"}}, path());
  fault.apply();
  const auto before = worker.operations();
  auto dose = watch(fault, 1300ms);
  EXPECT_GT((worker.operations() - before) * 64 * 1024, 4 * mebibyte) << "it was slowed after all";
  EXPECT_FALSE(dose.verified);
  EXPECT_THAT(dose.reason, ::testing::AllOf(HasSubstr("no read"), HasSubstr("the cache"))) << text(dose);
}

TEST_F(DiskThrottle, a_target_below_the_limit_was_not_slowed) {
  DiskWorker worker(*disk, *group, Use::direct_write, 4096, 50);
  RunFault fault("disk.throttle", {{"write_rate", "10MiB/s"}}, path());
  fault.apply();
  auto dose = watch(fault, 1700ms);
  EXPECT_FALSE(dose.verified);
  EXPECT_THAT(dose.reason, HasSubstr("below the limit of 10MiB/s: nothing was slowed")) << text(dose);
  EXPECT_EQ(measured(dose, "write_share_of_time_at_limit"), 0) << text(dose);
}

// Only v2 knows for whom the kernel writes back; on v1 such writes escape, and the dose says so.
TEST_F(DiskThrottle, buffered_writes_that_nobody_syncs) {
  // On v2, io is on before the file is dirty: otherwise it follows into its cgroup with its second write-back
  // only.
  DiskWorker first(*disk, *group, Use::holds_open);
  RunFault enable("disk.throttle", {{"write_rate", "1GiB/s"}}, path());
  enable.apply();
  Dose dose;
  double limit = 0;
  // A busy machine's disk may be slower than the limit; a lower one is met in lumps, of up to 2 MiB each, and
  // takes longer to see.
  struct Attempt {
    const char* rate;
    double bytes;
    std::chrono::milliseconds watched;
  };
  for (auto [rate, bytes, watched] :
       {Attempt{"8MiB/s", 8.0 * mebibyte, 4000ms}, Attempt{"4MiB/s", 4.0 * mebibyte, 10'000ms},
        Attempt{"4MiB/s", 4.0 * mebibyte, 10'000ms}}) {
    limit = bytes;
    DiskWorker worker(*disk, *group, Use::buffered_write, 64 * 1024, 1);
    RunFault fault("disk.throttle", {{"write_rate", rate}}, path());
    EXPECT_THAT(fault->limits(),
                ::testing::Contains(HasSubstr(v2() ? "buffered writes are slowed when they are written back"
                                                   : "buffered writes without fsync are not slowed")));
    fault.apply();
    watch(fault, 500ms);
    int folder = open(disk->folder().c_str(), O_RDONLY | O_DIRECTORY);
    std::thread flush([&] { syncfs(folder); });
    watch(fault, v2() ? watched : 800ms);
    fault->stopping();
    dose = fault->measure();
    fault.undo();
    flush.join();
    close(folder);
    if (!v2() || dose.verified) break;
  }
  EXPECT_EQ(dose.verified, v2()) << text(dose);
  if (v2())
    EXPECT_NEAR(measured(dose, "write_bytes_per_s") / limit, 1, 0.4) << text(dose);
  else
    EXPECT_THAT(dose.reason, HasSubstr("went by it: ")) << text(dose);
}

}  // namespace
}  // namespace squall
