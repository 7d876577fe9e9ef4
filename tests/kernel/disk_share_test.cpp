// What a dose of disk.throttle says of each limit, each cgroup and each direction, and when its rule or its
// target goes. On cgroup v1 (most build machines) and, in a guest, on v2 (tests/lab).
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "injector/host/storage/device_limit.hpp"
#include "injector/system/read_file.hpp"
#include "tests/kernel/own_disk.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using ::testing::AllOf;
using testing::DiskWorker;
using ::testing::HasSubstr;
using testing::OwnCgroup;
using testing::OwnDisk;
using testing::RunFault;
using testing::Use;

constexpr double mebibyte = 1 << 20;

class DiskShare : public ::testing::Test {
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
  std::string line(const std::string& rate) const {
    return fmt::format("{} {}{}", disk->id(), v2() ? "wbps=" : "", rate);
  }

  cgroup::Version version{};
  std::unique_ptr<OwnDisk> disk;
  std::unique_ptr<OwnCgroup> group;
};

std::string text(const Dose& dose) {
  return boost::json::serialize(dose.json());
}

// Polls as the session does, until the dose is as wanted; the last one.
template <class Is>
Dose poll(RunFault& fault, Is is, std::chrono::milliseconds patience = 20s) {
  auto dose = fault->measure();
  for (auto end = std::chrono::steady_clock::now() + patience;
       !is(dose) && std::chrono::steady_clock::now() < end; dose = fault->measure())
    std::this_thread::sleep_for(100ms);
  return dose;
}

bool verified(const Dose& dose) {
  return dose.verified;
}

double share_of_time(const Dose& dose, const char* name) {
  return dose.measured.contains(name) ? dose.measured.at(name).to_number<double>() : -1;
}

std::string lost(RunFault& fault) {
  std::string out;
  for (auto& event : fault->events())
    if (event.event == "fault.ineffective") out += std::string(event.with.at("why").as_string());
  return out;
}

void move_to(const OwnCgroup& group, pid_t pid) {
  write_file(group.group().folder + "/cgroup.procs", std::to_string(pid), "move");
}

TEST_F(DiskShare, a_limit_that_was_reached_does_not_verify_one_that_nobody_used) {
  DiskWorker writer(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "2MiB/s"}, {"read_rate", "2MiB/s"}}, path());
  fault.apply();
  const auto speaks_of_writes = [](const Dose& dose) { return dose.reason.find("; ") != std::string::npos; };
  auto dose = poll(fault, [&](auto& dose) {
    return share_of_time(dose, "write_share_of_time_at_limit") > 0.5 && !speaks_of_writes(dose);
  });
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(dose.reason, HasSubstr("no read ")) << text(dose);
  EXPECT_FALSE(speaks_of_writes(dose)) << text(dose);
}

// On v2 they wait for a write-back that is limited; on v1 nobody's limit holds for them.
TEST_F(DiskShare, buffered_writes_beside_direct_reads_have_gone_by_the_write_limit) {
  if (v2()) GTEST_SKIP() << "v2 limits their write-back";
  DiskWorker reader(*disk, *group, Use::direct_read),
      writer(*disk, *group, Use::buffered_write, 64 * 1024, 5);
  RunFault fault("disk.throttle", {{"read_rate", "1MiB/s"}, {"write_rate", "512KiB/s"}}, path());
  fault.apply();
  int folder = open(disk->folder().c_str(), O_RDONLY | O_DIRECTORY);
  auto dose = poll(fault, [&](auto& dose) {
    syncfs(folder);
    return share_of_time(dose, "read_share_of_time_at_limit") > 0.5;
  });
  close(folder);
  EXPECT_FALSE(dose.verified) << text(dose);
  auto written = std::find_if(dose.shares.begin(), dose.shares.end(),
                              [](auto& share) { return share.of.starts_with("bytes written by"); });
  ASSERT_NE(written, dose.shares.end()) << text(dose);
  EXPECT_GT(written->passed, 4 * written->met + mebibyte) << text(dose);
  EXPECT_THAT(dose.reason, HasSubstr("went by it")) << text(dose);
}

TEST_F(DiskShare, each_cgroup_is_accounted_for_by_itself) {
  if (v2()) GTEST_SKIP() << "v2 limits their write-back";
  OwnCgroup other("b");
  DiskWorker database(*disk, *group, Use::buffered_write, 64 * 1024, 5),
      backup(*disk, other, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  auto dose =
      poll(fault, [](auto& dose) { return share_of_time(dose, "write_share_of_time_at_limit") > 0.5; });
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(dose.reason, AllOf(HasSubstr("of what " + group->group().path), HasSubstr("went by it")))
      << text(dose);
  ASSERT_GE(dose.shares.size(), 3U) << text(dose);
  database.stop();
  // What was written before stays told: the dose is that of the whole time.
  EXPECT_FALSE(fault->measure().verified);
}

TEST_F(DiskShare, a_writer_that_syncs_beside_an_idle_one_meets_its_limit) {
  OwnCgroup other("b");
  DiskWorker worker(*disk, *group, Use::synced_write), idle(*disk, other, Use::holds_open);
  RunFault fault("disk.throttle", {{"write_rate", "2MiB/s"}}, path());
  fault.apply();
  auto dose = poll(fault, verified);
  EXPECT_TRUE(dose.verified) << text(dose);
  for (auto& share : dose.shares)
    EXPECT_LE(share.passed, share.met) << text(dose);
}

TEST_F(DiskShare, a_lower_limit_that_was_there_before_verifies_nothing) {
  DiskWorker worker(*disk, *group, Use::direct_write);
  RunFault enable("disk.throttle", {{"write_rate", "8GiB/s"}},
                  path());  // on v2: switches io on below the root
  enable.apply();
  group->write(line("700000"));
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  auto dose = poll(fault, verified, 3s);
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(dose.reason,
              HasSubstr("is 700000 already, which is no looser than 1048576: nothing was changed"))
      << text(dose);
}

TEST_F(DiskShare, a_rule_that_somebody_changes_is_told_and_not_verified_any_more) {
  DiskWorker worker(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  ASSERT_TRUE(poll(fault, verified).verified);
  EXPECT_EQ(lost(fault), "");
  group->write(line(v2() ? "max" : "0"));
  auto dose = fault->measure();
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(dose.reason,
              AllOf(HasSubstr("somebody set"), HasSubstr("to no limit (it was our 1048576), seen at")))
      << text(dose);
  EXPECT_THAT(lost(fault), HasSubstr("to no limit"));
  EXPECT_EQ(lost(fault), "");  // once
  EXPECT_EQ(fault.undo(), "");
  EXPECT_EQ(group->write_limits(), "");
}

TEST_F(DiskShare, a_process_that_moves_to_another_group_is_told) {
  OwnCgroup other("b");
  DiskWorker worker(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}},
                 object{{"pid", worker.pid()}, {"path", disk->folder()}});
  fault.apply();
  ASSERT_TRUE(poll(fault, verified).verified);
  move_to(other, worker.pid());
  auto dose = fault->measure();
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(dose.reason, HasSubstr("was moved to the cgroup " + other.group().path)) << text(dose);
  EXPECT_THAT(lost(fault), HasSubstr("was moved to the cgroup"));
}

TEST_F(DiskShare, a_controller_that_is_switched_off_is_told) {
  if (!v2()) GTEST_SKIP() << "controllers of v1 are not switched off";
  DiskWorker worker(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, path());
  fault.apply();
  ASSERT_TRUE(poll(fault, verified).verified);
  write_file(cgroup::io_hierarchy()->point + "/cgroup.subtree_control", "-io", "switch io off");
  auto dose = fault->measure();
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(lost(fault), HasSubstr("somebody switched its controller off"));
}

object whole(const OwnCgroup& group, const OwnDisk& disk) {
  return {{"cgroup", group.group().path}, {"path", disk.folder()}};
}

TEST_F(DiskShare, a_cgroup_and_those_below_it_get_the_rate_together) {
  if (!v2()) GTEST_SKIP() << "v1 knows no limit of several groups together";
  OwnCgroup one("a/one"), two("a/two"), late("a/late"), elsewhere("b");
  DiskWorker first(*disk, one, Use::direct_write), second(*disk, two, Use::direct_write);
  auto third = std::make_unique<DiskWorker>(*disk, elsewhere, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "2MiB/s"}}, whole(*group, *disk));
  EXPECT_EQ(fault->targets().size(), 1U);
  fault.apply();
  ASSERT_TRUE(poll(fault, verified).verified);
  move_to(late, third->pid());
  std::this_thread::sleep_for(1s);  // what was under way
  auto before = first.operations() + second.operations() + third->operations();
  auto from = std::chrono::steady_clock::now();
  poll(fault, [](auto&) { return false; }, 4s);
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  auto done = static_cast<double>(first.operations() + second.operations() + third->operations() - before) *
              64 * 1024;
  EXPECT_LT(done / seconds, 2.8 * mebibyte);
  auto dose = fault->measure();
  EXPECT_TRUE(dose.verified) << text(dose);
  EXPECT_EQ(lost(fault), "");
}

TEST_F(DiskShare, on_v1_a_cgroup_below_that_begins_later_is_told) {
  if (v2()) GTEST_SKIP() << "v2 limits it with the rest";
  OwnCgroup late("a/late");
  DiskWorker first(*disk, *group, Use::direct_write);
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, whole(*group, *disk));
  EXPECT_THAT(fault->limits(), ::testing::Contains(HasSubstr("those that begin later are not slowed")));
  fault.apply();
  ASSERT_TRUE(poll(fault, verified).verified);
  DiskWorker second(*disk, late, Use::direct_write);
  auto dose = poll(fault, [](auto& dose) { return !dose.verified; });
  EXPECT_FALSE(dose.verified) << text(dose);
  EXPECT_THAT(lost(fault), HasSubstr("is in the cgroup " + late.group().path + ", which is not limited"));
}

TEST_F(DiskShare, says_where_io_cannot_be_switched_on) {
  if (!v2()) GTEST_SKIP() << "v1 has no controllers to switch on";
  OwnCgroup child("a/one");
  DiskWorker above(*disk, *group, Use::holds_open), worker(*disk, child, Use::holds_open);
  try {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}},
                   object{{"pid", worker.pid()}, {"path", disk->folder()}});
    FAIL() << "it has processes of its own";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("the io controller is off below the cgroup " + group->group().path),
                      HasSubstr("a process of its own")));
  }
}

// A process that writes to a file of an overlay whose layers lie on the disk.
class OverlayUser {
 public:
  OverlayUser(const OwnDisk& disk, const OwnCgroup& group) : point_(disk.folder() + "/merged") {
    for (auto* name : {"/lower", "/upper", "/work", "/merged"})
      std::filesystem::create_directory(disk.folder() + name);
    auto options = fmt::format("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", disk.folder());
    if (mount("overlay", point_.c_str(), "overlay", 0, options.c_str()) != 0)
      throw std::runtime_error("mount an overlay");
    pid_ = fork();
    if (pid_ == 0) write_forever(group.group().folder);
    while (!std::filesystem::exists(point_ + "/file"))
      std::this_thread::sleep_for(5ms);
  }
  ~OverlayUser() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    umount2(point_.c_str(), MNT_DETACH);
  }
  const std::string& folder() const { return point_; }
  pid_t pid() const { return pid_; }

 private:
  [[noreturn]] void write_forever(const std::string& group) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int procs = open((group + "/cgroup.procs").c_str(), O_WRONLY);
    if (procs < 0 || ::write(procs, "0", 1) != 1) _exit(15);
    int fd = open((point_ + "/file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const std::string block(65536, 'x');
    for (long i = 0;; ++i)
      if (pwrite(fd, block.data(), block.size(), i % 64 * 65536) < 0 || fdatasync(fd) != 0) _exit(1);
  }
  std::string point_;
  pid_t pid_ = -1;
};

TEST_F(DiskShare, an_overlay_is_found_by_its_path_by_the_disk_below_and_by_its_user) {
  OverlayUser user(*disk, *group);
  for (auto& on : std::vector<object>{object{{"path", user.folder()}}, path(),
                                      object{{"device", disk->name()}}, object{{"pid", user.pid()}}}) {
    RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, on);
    EXPECT_THAT(fault->targets(), ::testing::Contains(AllOf(HasSubstr(disk->name() + " "),
                                                            HasSubstr(fmt::format("[{}]", user.pid())))))
        << boost::json::serialize(on);
  }
  RunFault fault("disk.throttle", {{"write_rate", "1MiB/s"}}, object{{"path", user.folder()}});
  fault.apply();
  auto dose = poll(fault, verified);
  EXPECT_TRUE(dose.verified) << text(dose);
}

}  // namespace
}  // namespace squall
