// Overlays over a folder in a mount namespace of the test's own.
#include <cerrno>
#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "injector/overlay/detach.hpp"
#include "injector/system/read_file.hpp"
#include "tests/support/own_mounts.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using ::testing::HasSubstr;
using testing::OwnMounts;
using testing::RunFault;

class Overlay : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/fuse";
    mounts = std::make_unique<OwnMounts>();
  }
  object on() const { return {{"path", mounts->folder()}, {"pid", mounts->pid()}}; }
  static std::string tag(const RunFault& fault) {
    return std::string(fault.inverses().at(0).with.at("tag").as_string());
  }
  bool mounted() const {
    return read_file(fmt::format("/proc/{}/mountinfo", mounts->pid())).value_or("").find(" - fuse squall-") !=
           std::string::npos;
  }
  std::unique_ptr<OwnMounts> mounts;
};

// --- in processes of the service ---

std::string result(long value) {
  return value < 0 ? std::string{"-"} + strerrorname_np(errno) : std::to_string(value);
}

std::string stat_text(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return strerrorname_np(errno);
  return fmt::format("mode {:o} of {}:{} links {} size {}", info.st_mode, info.st_uid, info.st_gid,
                     info.st_nlink, S_ISDIR(info.st_mode) ? 0 : info.st_size);
}

// One line each: what an operation came to, in this folder.
std::string conformance(const std::string& in) {
  std::string out;
  auto say = [&](const std::string& what, const std::string& came) { out += what + ": " + came + "\n"; };
  auto at = [&](const char* name) { return in + "/" + name; };
  alignas(4096) static char block[8192];
  const int file = ::open(at("a").c_str(), O_CREAT | O_EXCL | O_RDWR, 0640);
  say("create", stat_text(at("a")));
  say("create again", result(::open(at("a").c_str(), O_CREAT | O_EXCL | O_RDWR, 0640)));
  say("write", result(::pwrite(file, "hello", 5, 4090)));
  say("sparse", stat_text(at("a")));
  say("rename over", result((::close(::open(at("b").c_str(), O_CREAT | O_RDWR, 0600)),
                             ::rename(at("a").c_str(), at("b").c_str()))));
  say("write to what was renamed", result(::pwrite(file, "x", 1, 0)));
  say("unlink", result(::unlink(at("b").c_str())));
  say("write to what was unlinked", result(::pwrite(file, "y", 1, 1)));
  say("read of it", result(::pread(file, block, 8192, 0)));
  struct stat info{};
  ::fstat(file, &info);
  say("its links", std::to_string(info.st_nlink));
  ::close(file);
  const int direct = ::open(at("d").c_str(), O_CREAT | O_RDWR | O_DIRECT, 0600);
  say("direct write", result(::pwrite(direct, block, 4096, 0)));
  say("direct read", result(::pread(direct, block, 4096, 0)));
  say("direct, not aligned", result(::pwrite(direct, block, 100, 3)));
  ::close(direct);
  const int mapped = ::open(at("m").c_str(), O_CREAT | O_RDWR, 0600);
  say("truncate", result(::ftruncate(mapped, 8192)));
  auto* map = static_cast<char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0));
  say("map", map == MAP_FAILED ? strerrorname_np(errno) : "yes");
  if (map != MAP_FAILED) {
    map[5000] = 'z';
    say("msync", result(::msync(map, 8192, MS_SYNC)));
    char one = 0;
    say("read what was mapped", result(::pread(mapped, &one, 1, 5000)) + one);
    ::munmap(map, 8192);
  }
  const int other = ::open(at("m").c_str(), O_RDWR);
  say("flock", result(::flock(mapped, LOCK_EX | LOCK_NB)));
  say("flock by another", result(::flock(other, LOCK_EX | LOCK_NB)));
  say("fallocate", result(::fallocate(mapped, 0, 0, 65536)));
  say("punch", result(::fallocate(mapped, 3, 0, 4096)));
  say("seek hole", result(::lseek(mapped, 0, SEEK_HOLE)));
  say("seek end", result(::lseek(mapped, 0, SEEK_END)));
  const int appending = ::open(at("m").c_str(), O_WRONLY | O_APPEND);
  say("append", result(::write(appending, "tail", 4)));
  say("after", stat_text(at("m")));
  const int nameless = ::open(in.c_str(), O_TMPFILE | O_RDWR, 0604);
  say("O_TMPFILE", nameless < 0 ? strerrorname_np(errno) : "yes");
  say("write to it", result(::write(nameless, "abc", 3)));
  say("give it a name", result(::linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", nameless).c_str(), AT_FDCWD,
                                        at("t").c_str(), AT_SYMLINK_FOLLOW)));
  say("named", stat_text(at("t")));
  say("hard link", result(::link(at("t").c_str(), at("t2").c_str())));
  say("linked", stat_text(at("t2")));
  say("symlink", result(::symlink("t", at("s").c_str())));
  say("read by it", read_file(at("s")).value_or("nothing"));
  say("xattr", result(::setxattr(at("t").c_str(), "user.x", "1", 1, 0)));
  say("xattr again", result(::setxattr(at("t").c_str(), "user.x", "1", 1, XATTR_CREATE)));
  say("get xattr", result(::getxattr(at("t2").c_str(), "user.x", block, 10)));
  say("none", result(::getxattr(at("t").c_str(), "user.y", block, 10)));
  say("mkdir", result(::mkdir(at("f").c_str(), 0751)));
  say("rename into", result(::rename(at("t2").c_str(), at("f/t3").c_str())));
  say("rmdir of one that is not empty", result(::rmdir(at("f").c_str())));
  say("exchange", result(::renameat2(AT_FDCWD, at("t").c_str(), AT_FDCWD, at("f").c_str(), RENAME_EXCHANGE)));
  say("no replace",
      result(::renameat2(AT_FDCWD, at("t").c_str(), AT_FDCWD, at("f").c_str(), RENAME_NOREPLACE)));
  say("fifo", result(::mkfifo(at("p").c_str(), 0644)));
  say("chmod", result(::chmod(at("f").c_str(), 04755)) + stat_text(at("f")));
  say("chown", result(::chown(at("f").c_str(), 7, 8)) + stat_text(at("f")));
  timespec times[2] = {{1000, 5}, {2000, 7}};
  say("utimens", result(::utimensat(AT_FDCWD, at("f").c_str(), times, 0)));
  ::stat(at("f").c_str(), &info);
  say("times", fmt::format("{}.{} {}.{}", info.st_atim.tv_sec, info.st_atim.tv_nsec, info.st_mtim.tv_sec,
                           info.st_mtim.tv_nsec));
  say("long name", result(::open(at(std::string(300, 'x').c_str()).c_str(), O_CREAT | O_RDWR, 0600)));
  struct statvfs space{};
  say("statvfs",
      result(::statvfs(in.c_str(), &space)) + fmt::format(" {} {}", space.f_bsize, space.f_namemax));
  ::chmod(in.c_str(), 0777);
  // As somebody else, who may do less.
  (void)!::setegid(12345);
  (void)!::seteuid(12345);
  say("theirs", result(::open(at("m").c_str(), O_RDONLY)));
  ::umask(027);
  ::close(::open(at("o").c_str(), O_CREAT | O_RDWR, 0666));
  say("their own", stat_text(at("o")));
  say("chown by them", result(::chown(at("o").c_str(), 0, 0)));
  say("chmod of another's", result(::chmod(at("m").c_str(), 0777)));
  (void)!::seteuid(0);
  std::vector<std::string> names;
  for (auto& entry : std::filesystem::directory_iterator{in})
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  say("names", fmt::format("{}", fmt::join(names, " ")));
  return out;
}

TEST_F(Overlay, without_a_fault_differs_in_nothing_from_the_folder) {
  const auto bare = mounts->inside([&] { return conformance(mounts->bare()); });
  RunFault fault("disk.latency", {{"flush", "1ms"}}, on());
  fault.apply();
  fault->set_level(0);
  ASSERT_TRUE(mounted());
  EXPECT_EQ(mounts->inside([&] { return conformance(mounts->folder()); }), bare);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_FALSE(mounted());
}

// Writes and flushes; the median milliseconds of a flush.
std::string flush_ms(const std::string& file, int times) {
  const int opened = ::open(file.c_str(), O_CREAT | O_RDWR, 0600);
  std::vector<double> took;
  for (int i = 0; i < times; ++i) {
    (void)!::pwrite(opened, "x", 1, i);
    const auto from = std::chrono::steady_clock::now();
    if (::fdatasync(opened) != 0) return strerrorname_np(errno);
    took.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count());
  }
  std::sort(took.begin(), took.end());
  return std::to_string(took[took.size() / 2]);
}

TEST_F(Overlay, latency_is_what_a_flush_takes_longer_and_the_dose_measures_it) {
  RunFault fault("disk.latency", {{"flush", "60ms"}}, on());
  fault.apply();
  const auto took = mounts->inside([&] { return flush_ms(mounts->folder() + "/wal", 20); });
  const auto dose = fault->measure();
  EXPECT_GE(std::stod(took), 60);
  EXPECT_TRUE(dose.verified) << boost::json::serialize(dose.json());
  EXPECT_NEAR(dose.measured.at("flush_ms").to_number<double>(), 60, 12)
      << boost::json::serialize(dose.json());
  EXPECT_GE(dose.shares.at(0).met, 20U);
  EXPECT_EQ(fault.undo(), "");
  EXPECT_FALSE(mounted());
  EXPECT_EQ(mounts->inside([&] { return read_file(mounts->folder() + "/wal").value_or("").substr(0, 3); }),
            "xxx");
}

TEST_F(Overlay, errors_come_by_operation_and_are_gone_after_the_undo) {
  RunFault fault("disk.error", {{"error", "ENOSPC"}, {"operations", boost::json::array{"flush"}}}, on());
  fault.apply();
  EXPECT_EQ(mounts->inside([&] { return flush_ms(mounts->folder() + "/wal", 3); }), "ENOSPC");
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(fault->measure().verified) << boost::json::serialize(fault->measure().json());
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_NE(mounts->inside([&] { return flush_ms(mounts->folder() + "/wal", 3); }), "ENOSPC");
}

// A service that writes, flushes and reads back what it wrote, by a file that it keeps open and by new ones;
// it tells each error. Ends when `stop` is there.
std::string work(const std::string& folder, const std::string& stop) {
  const int kept = ::open((folder + "/kept").c_str(), O_CREAT | O_RDWR, 0600);
  const int log = ::open((folder + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
  ::flock(kept, LOCK_EX);
  for (std::uint64_t i = 0;; ++i) {
    std::uint64_t back = 0;
    const auto offset = static_cast<off_t>(i % 512 * 8);
    if (::pwrite(kept, &i, 8, offset) != 8) return fmt::format("write {}: {}", i, strerrorname_np(errno));
    if (i % 8 == 0 && ::fdatasync(kept) != 0) return fmt::format("flush {}: {}", i, strerrorname_np(errno));
    if (::pread(kept, &back, 8, offset) != 8 || back != i)
      return fmt::format("read {}: {} {}", i, back, strerrorname_np(errno));
    if (::write(log, &i, 8) != 8) return fmt::format("append {}: {}", i, strerrorname_np(errno));
    const int fresh = ::open((folder + "/new").c_str(), O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fresh < 0 || ::write(fresh, &i, 8) != 8) return fmt::format("new {}: {}", i, strerrorname_np(errno));
    ::close(fresh);
    // One whose two paths are looked up before and after the overlay goes is one across file systems.
    auto renamed = ::rename((folder + "/new").c_str(), (folder + "/old").c_str());
    if (renamed != 0 && errno == EXDEV)
      renamed = ::rename((folder + "/new").c_str(), (folder + "/old").c_str());
    if (renamed != 0) return fmt::format("rename {}: {}", i, strerrorname_np(errno));
    if (::access(stop.c_str(), F_OK) != 0) continue;
    const auto logged = std::filesystem::file_size(folder + "/log");
    return logged == (i + 1) * 8 ? "fine" : fmt::format("{} bytes of {} appended", logged, (i + 1) * 8);
  }
}

TEST_F(Overlay, nobody_sees_that_its_worker_is_killed_or_that_it_is_taken_away) {
  RunFault fault("disk.latency", {{"flush", "5ms"}, {"write", "3ms"}}, on());
  fault.apply();
  const auto stop = mounts->bare() + "/stop";
  std::string said;
  std::thread service{[&] { said = mounts->inside([&] { return work(mounts->folder(), stop); }); }};
  std::this_thread::sleep_for(200ms);
  for (int i = 0; i < 5; ++i) {
    const auto processes = overlay::processes_of(tag(fault));
    EXPECT_EQ(processes.size(), 2U);
    if (processes.size() == 2) ::kill(processes.back(), SIGKILL);  // the worker is the younger one
    std::this_thread::sleep_for(100ms);
  }
  const auto processes = overlay::processes_of(tag(fault));
  EXPECT_EQ(fault.undo(true), "");
  EXPECT_FALSE(mounted());
  std::this_thread::sleep_for(200ms);
  std::ofstream{stop} << "!";
  service.join();
  EXPECT_EQ(said, "fine");
  EXPECT_EQ(processes.size(), 2U);
}

TEST_F(Overlay, its_keeper_killed_it_is_taken_away_and_open_files_go_on) {
  RunFault fault("disk.latency", {{"flush", "5ms"}}, on());
  fault.apply();
  const auto stop = mounts->bare() + "/stop";
  std::string said;
  std::thread service{[&] { said = mounts->inside([&] { return work(mounts->folder(), stop); }); }};
  std::this_thread::sleep_for(200ms);
  const auto processes = overlay::processes_of(tag(fault));
  if (processes.size() == 2) ::kill(processes.front(), SIGKILL);
  for (int i = 0; i < 200 && mounted(); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(mounted());
  std::this_thread::sleep_for(100ms);
  std::ofstream{stop} << "!";
  service.join();
  EXPECT_EQ(said, "fine");
}

TEST_F(Overlay, refuses_what_is_no_folder_and_says_who_has_files_open_already) {
  auto refused = [&](const std::string& path) -> std::string {
    try {
      RunFault fault("disk.error", {}, {{"path", path}, {"pid", mounts->pid()}});
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(refused("/"), HasSubstr("the whole host's"));
  EXPECT_THAT(refused(mounts->folder() + "/nowhere"), HasSubstr("no such folder"));
  std::ofstream{mounts->folder() + "/file"} << "1";
  EXPECT_THAT(refused(mounts->folder() + "/file"), HasSubstr("is no folder"));
  const auto holder = mounts->begin([&] {
    ::open((mounts->folder() + "/file").c_str(), O_RDONLY);
    for (;;)
      ::pause();
  });
  std::string limits;
  for (int i = 0; i < 200 && limits.find(std::to_string(holder)) == std::string::npos; ++i) {
    std::this_thread::sleep_for(10ms);
    RunFault fault("disk.error", {}, on());
    limits = fmt::format("{}", fmt::join(fault->limits(), "\n"));
  }
  EXPECT_THAT(limits, HasSubstr(fmt::format("[{}] (1 descriptors) from before the overlay", holder)));
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
}

}  // namespace
}  // namespace squall
