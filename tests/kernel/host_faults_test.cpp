// Faults on processes, processors, memory and volumes, each judged by something other than the fault itself,
// and undone by the injector and, where there is an inverse, from the journal alone.
#include <cerrno>
#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "injector/host/cgroups/value.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"
#include "tests/kernel/own_disk.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using ::testing::HasSubstr;
using testing::OwnDisk;
using testing::RunFault;

// A child that does something until it goes out of scope, in a cgroup of its own where a controller is named.
class Child {
 public:
  explicit Child(const std::function<void()>& what, const std::string& controller = "") {
    if (!controller.empty()) {
      const auto hierarchy = cgroup::hierarchy_with(controller);
      if (!hierarchy) throw std::runtime_error(hierarchy.error());
      folder_ = fmt::format("{}/squall-test-{}", hierarchy->point, ::getpid());
      std::filesystem::create_directory(folder_);
    }
    pid_ = ::fork();
    if (pid_ != 0) {
      if (!folder_.empty()) std::ofstream{folder_ + "/cgroup.procs"} << pid_;
      return;
    }
    for (;;)
      what();
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }
  Child(const Child&) = delete;
  pid_t pid() const { return pid_; }
  const std::string& folder() const { return folder_; }

 private:
  pid_t pid_;
  std::string folder_;
};

// A shell that starts it again and again.
class Supervisor {
 public:
  explicit Supervisor(const std::string& exe) : pid_(::fork()) {
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::execl("/bin/sh", "sh", "-c", fmt::format("while :; do {} 3600; done", exe).c_str(), nullptr);
      ::_exit(127);
    }
    ::setpgid(pid_, pid_);
  }
  ~Supervisor() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Supervisor(const Supervisor&) = delete;

 private:
  pid_t pid_;
};

void spin() {
  for (volatile int i = 0; i < 100'000; i = i + 1) {
  }
}

class HostFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  // The dose, as soon as it is verified, or after so long.
  static Dose verified_dose(RunFault& fault, std::chrono::milliseconds within = std::chrono::seconds{5}) {
    for (const auto until = std::chrono::steady_clock::now() + within;;) {
      auto dose = fault->measure();
      if (dose.verified || std::chrono::steady_clock::now() > until) return dose;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
  }
  // Until it holds, within three seconds.
  static bool soon(const std::function<bool()>& holds) {
    for (int attempt = 0; attempt < 300; ++attempt) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    return false;
  }
  static char state_of(pid_t pid) { return read_process_stat(pid).value_or(ProcessStat{}).state; }
};

TEST_F(HostFaults, a_process_is_stopped_and_goes_on) {
  const Child child{spin};
  for (const bool from_the_journal : {false, true}) {
    RunFault fault{"process.pause", {}, {{"pid", child.pid()}}};
    fault.apply();
    const auto dose = verified_dose(fault);
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(state_of(child.pid()), 'T');
    EXPECT_LE(dose.measured.at("cpu_ms").to_number<double>(), 20);  // a tick that was not over yet
    EXPECT_EQ(fault.undo(from_the_journal), "");
    EXPECT_NE(state_of(child.pid()), 'T');
  }
}

TEST_F(HostFaults, one_that_somebody_let_go_on_is_no_verified_pause) {
  const Child child{spin};
  RunFault fault{"process.pause", {}, {{"pid", child.pid()}}};
  fault.apply();
  EXPECT_TRUE(verified_dose(fault).verified);
  ::kill(child.pid(), SIGCONT);
  EXPECT_FALSE(fault->measure().verified);
  EXPECT_EQ(fault.undo(), "");
}

TEST_F(HostFaults, a_process_may_open_no_more_files_and_then_may_again) {
  int told[2];
  ASSERT_EQ(::pipe2(told, O_NONBLOCK), 0);
  const Child child{[&] {
    static int files = 0;
    const int opened = files < 40 ? ::open("/dev/null", O_RDONLY) : -1;
    if (opened >= 0) ++files;
    const char how = opened >= 0 ? '+' : errno == EMFILE ? '!' : '-';
    if (how != '-' && ::write(told[1], &how, 1) != 1) ::_exit(1);
    ::usleep(2000);
  }};
  rlimit before{};
  ::prlimit(child.pid(), RLIMIT_NOFILE, nullptr, &before);
  RunFault fault{"process.limit", {{"files", 16}}, {{"pid", child.pid()}}};
  fault.apply();
  const auto dose = verified_dose(fault);
  EXPECT_TRUE(dose.verified) << dose.reason;
  std::string how;
  EXPECT_TRUE(soon([&] {
    char heard[4096];
    const auto got = ::read(told[0], heard, sizeof heard);
    how.append(heard, static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    return how.find('!') != std::string::npos;
  })) << "nobody was refused a file";
  EXPECT_EQ(fault.undo(true), "");
  rlimit after{};
  ::prlimit(child.pid(), RLIMIT_NOFILE, nullptr, &after);
  EXPECT_EQ(before.rlim_cur, after.rlim_cur);
  ::close(told[0]);
  ::close(told[1]);
}

TEST_F(HostFaults, a_limit_that_nobody_came_to_is_no_verified_dose) {
  const Child child{spin};
  RunFault fault{"process.limit", {{"files", 500}}, {{"pid", child.pid()}}};
  fault.apply();
  EXPECT_FALSE(fault->measure().verified);
  EXPECT_THAT(fault->measure().reason, HasSubstr("nobody was refused one"));
}

TEST_F(HostFaults, a_cgroup_is_left_a_share_of_a_processor) {
  if (!cgroup::hierarchy_with("cpu")) GTEST_SKIP() << "no cpu controller here";
  const Child child{spin, "cpu"};
  const auto before = snapshot_host();
  for (const bool from_the_journal : {false, true}) {
    RunFault fault{"cpu.throttle", {{"leave", "20%"}}, {{"pid", child.pid()}}};
    fault.apply();
    std::this_thread::sleep_for(std::chrono::milliseconds{2200});
    const auto dose = verified_dose(fault);
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_LE(dose.measured.at("cpu_percent").to_number<double>(), 25);
    EXPECT_EQ(fault.undo(from_the_journal), "");
    EXPECT_THAT(differences(before, snapshot_host()), ::testing::IsEmpty());
  }
}

TEST_F(HostFaults, who_wants_no_more_is_not_throttled) {
  if (!cgroup::hierarchy_with("cpu")) GTEST_SKIP() << "no cpu controller here";
  const Child child{[] { ::usleep(50'000); }, "cpu"};
  RunFault fault{"cpu.throttle", {{"leave", "50%"}}, {{"pid", child.pid()}}};
  fault.apply();
  std::this_thread::sleep_for(std::chrono::milliseconds{300});
  EXPECT_THAT(fault->measure().reason, HasSubstr("nobody in the cgroup wanted more"));
}

TEST_F(HostFaults, a_value_that_somebody_set_meanwhile_is_left_alone) {
  if (!cgroup::hierarchy_with("cpu")) GTEST_SKIP() << "no cpu controller here";
  const Child child{spin, "cpu"};
  const auto file =
      child.folder() +
      (cgroup::hierarchy_with("cpu")->version == cgroup::Version::v2 ? "/cpu.max" : "/cpu.cfs_quota_us");
  RunFault fault{"cpu.throttle", {{"leave", "20%"}}, {{"pid", child.pid()}}};
  fault.apply();
  write_file(file, "77000", "set it");
  EXPECT_THAT(fault.undo(), HasSubstr("somebody else wrote"));
  EXPECT_THAT(*read_file(file), HasSubstr("77000"));
}

TEST_F(HostFaults, a_cgroup_is_squeezed) {
  if (!cgroup::hierarchy_with("memory")) GTEST_SKIP() << "no memory controller here";
  test::TemporaryDirectory folder;
  std::ofstream{folder.path() / "data"} << std::string(24 << 20, 'x');
  // Its pages are a cache of a file, which can be taken back.
  const Child child{[file = (folder.path() / "data").string()] {
                      static const int data = ::open(file.c_str(), O_RDONLY);
                      static char block[1 << 16];
                      ::posix_fadvise(data, 0, 0, POSIX_FADV_DONTNEED);
                      for (off_t at = 0; ::pread(data, block, sizeof block, at) > 0; at += sizeof block) {
                      }
                    },
                    "memory"};
  const auto before = snapshot_host();
  for (const bool from_the_journal : {false, true}) {
    RunFault fault{"memory.limit", {{"amount", "8MiB"}}, {{"pid", child.pid()}}};
    fault.apply();
    const auto dose = verified_dose(fault);
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(fault.undo(from_the_journal), "");
    EXPECT_THAT(differences(before, snapshot_host()), ::testing::IsEmpty());
  }
}

TEST_F(HostFaults, nobody_in_the_root_cgroup_is_limited) {
  const Child child{spin};
  EXPECT_THROW((RunFault{"memory.limit", {{"amount", "8MiB"}}, {{"pid", ::getpid()}}}), std::runtime_error);
  if (const auto cpu = cgroup::hierarchy_with("cpu"); cpu && cgroup::group_of(*cpu, child.pid())->is_root())
    EXPECT_THROW((RunFault{"cpu.throttle", {{"leave", "20%"}}, {{"pid", child.pid()}}}), std::runtime_error);
}

// Free space is looked at as somebody who is not root sees it.
TEST_F(HostFaults, a_volume_has_only_so_much_room) {
  const OwnDisk disk;
  const auto room = [&] {
    struct statvfs info{};
    ::statvfs(disk.folder().c_str(), &info);
    return static_cast<std::int64_t>(info.f_bavail * info.f_frsize);
  };
  const auto before = room();
  {
    RunFault fault{"disk.fill", {{"leave", "64KiB"}}, {{"path", disk.folder()}}};
    fault.apply();
    const auto dose = fault->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_LE(room(), 128 * 1024);
    EXPECT_THROW((RunFault{"disk.fill", {{"leave", "1MiB"}}, {{"path", disk.folder()}}}), std::runtime_error);
    EXPECT_EQ(fault.undo(), "");
  }
  EXPECT_EQ(room(), before);
  EXPECT_THROW((RunFault{"disk.fill", {{"leave", "64KiB"}}, {{"path", "/"}}}), std::runtime_error)
      << "our own";
}

TEST_F(HostFaults, a_volume_takes_only_so_many_files) {
  const OwnDisk disk;
  const auto files = [&] {
    struct statvfs info{};
    ::statvfs(disk.folder().c_str(), &info);
    return static_cast<std::int64_t>(info.f_favail);
  };
  const auto before = files();
  RunFault fault{"disk.inodes", {{"leave", before - 300}}, {{"path", disk.folder()}}};
  fault.apply();
  EXPECT_TRUE(fault->measure().verified) << fault->measure().reason;
  EXPECT_EQ(files(), before - 300);
  const Fd mine{::open((disk.folder() + "/one-more").c_str(), O_CREAT | O_WRONLY, 0600)};
  EXPECT_FALSE(fault->measure().verified) << "somebody made another";
  EXPECT_EQ(fault.undo(), "");
  EXPECT_EQ(files(), before - 1);
}

// By the real injector, whose worker is its own program, and which is killed.
class ByInjector : public HostFaults {
 protected:
  boost::json::object apply(const std::string& fault, boost::json::object with, boost::json::object on) {
    return injector.must({{"do", "apply"},
                          {"step", "it"},
                          {"fault", fault},
                          {"with", std::move(with)},
                          {"on", std::move(on)},
                          {"for_ns", 30'000'000'000}});
  }
  boost::json::object now() { return injector.must({{"do", "dose"}, {"step", "it"}}).at("dose").as_object(); }
  boost::json::object dose(std::chrono::milliseconds within = std::chrono::seconds{8}) {
    for (const auto until = std::chrono::steady_clock::now() + within;;) {
      auto out = now();
      if (out.at("verified").as_bool() || std::chrono::steady_clock::now() > until) return out;
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
  }
  void SetUp() override {
    HostFaults::SetUp();
    if (!IsSkipped()) injector.must({{"do", "hello"}, {"version", 1}, {"run", "test"}});
  }
  void kill_it() { ::kill(injector.pid(), SIGKILL); }

  test::TemporaryDirectory folder;
  test::InjectorProcess injector{(folder.path() / "state").string()};
};

TEST_F(ByInjector, processors_are_used_as_much_as_was_asked) {
  const auto used = [] {  // user, nice and system of all processors (proc_stat(5))
    long long user = 0, nice = 0, system = 0;
    std::sscanf(read_file("/proc/stat")->c_str(), "cpu %lld %lld %lld", &user, &nice, &system);
    return static_cast<double>(user + nice + system);
  };
  apply("cpu.burn", {{"share", "40%"}}, {});
  const auto found = dose();
  EXPECT_TRUE(found.at("verified").as_bool()) << found;
  const auto before = used();
  std::this_thread::sleep_for(std::chrono::seconds{1});
  const auto share =
      (used() - before) / static_cast<double>(::sysconf(_SC_CLK_TCK) * ::sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_GT(share, 0.33);
  kill_it();
  EXPECT_TRUE(soon([&] {
    for (auto& process : entries("/proc"))
      if (read_file(process.string() + "/cmdline").value_or("").find(std::string("worker\0burn", 11)) !=
              std::string::npos &&
          read_process_stat(std::atoi(process.filename().c_str())).value_or(ProcessStat{}).parent ==
              injector.pid())
        return false;
    return true;
  }));
}

TEST_F(ByInjector, memory_is_held) {
  apply("memory.fill", {{"amount", "48MiB"}}, {});
  const auto found = dose();
  EXPECT_TRUE(found.at("verified").as_bool()) << found;
  injector.must({{"do", "undo"}, {"step", "it"}});
  EXPECT_TRUE(injector.must({{"do", "bye"}}).at("clean").as_bool());
}

TEST_F(ByInjector, who_comes_instead_is_killed_too) {
  std::filesystem::copy_file("/bin/sleep", folder.path() / "sqkeep");
  const auto exe = (folder.path() / "sqkeep").string();
  const Supervisor supervisor{exe};
  ASSERT_TRUE(
      soon([&] { return find_processes({.exe = exe}).value_or(std::vector<Process>{}).size() == 1; }));
  apply("process.keep_dead", {}, {{"exe", exe}});
  EXPECT_TRUE(soon([&] { return now().at("measured").at("killed_again").to_number<int>() > 3; }));
  EXPECT_TRUE(dose().at("verified").as_bool());
  injector.must({{"do", "undo"}, {"step", "it"}});
  EXPECT_TRUE(
      soon([&] { return find_processes({.exe = exe}).value_or(std::vector<Process>{}).size() == 1; }));
}

// The injector dies while the file system hangs; its guardian thaws it.
TEST_F(HostFaults, a_volume_hangs_and_is_thawed_by_the_guardian) {
  const OwnDisk disk;
  test::TemporaryDirectory folder;
  test::InjectorProcess injector{(folder.path() / "state").string()};
  injector.must({{"do", "hello"}, {"version", 1}, {"run", "test"}});
  injector.must({{"do", "apply"},
                 {"step", "it"},
                 {"fault", "disk.freeze"},
                 {"on", {{"path", disk.folder()}}},
                 {"for_ns", 30'000'000'000}});
  const pid_t writer = ::fork();
  if (writer == 0) {
    const int file = ::open((disk.folder() + "/waits").c_str(), O_CREAT | O_WRONLY, 0600);
    ::_exit(file >= 0 && ::write(file, "x", 1) == 1 ? 0 : 1);
  }
  bool verified = false;
  for (int attempt = 0; attempt < 100 && !verified; ++attempt) {
    verified = injector.must({{"do", "dose"}, {"step", "it"}}).at("dose").at("verified").as_bool();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  EXPECT_TRUE(verified);
  int status = 0;
  EXPECT_EQ(::waitpid(writer, &status, WNOHANG), 0) << "a write was done on a file system that hangs";
  ::kill(injector.pid(), SIGKILL);
  EXPECT_EQ(::waitpid(writer, &status, 0), writer);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace squall
