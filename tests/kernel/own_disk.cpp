#include "tests/kernel/own_disk.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall::testing {
namespace {

[[noreturn]] void fail(const std::string& attempt) {
  throw std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

void use_own_mounts() {
  static const bool done = [] {
    if (unshare(CLONE_NEWNS) != 0) fail("make a mount namespace");
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("make mounts private");
    return true;
  }();
  (void)done;
}

// Attaches with LO_FLAGS_AUTOCLEAR: the device detaches itself when the last one closes or unmounts it
// (loop(4)).
int attach(const std::string& image, std::string& device) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  int backing = open(image.c_str(), O_RDWR | O_CLOEXEC);
  if (control < 0 || backing < 0) fail("open the loop control and the image");
  for (int attempt = 0; attempt < 50; ++attempt) {
    device = fmt::format("/dev/loop{}", ioctl(control, LOOP_CTL_GET_FREE));
    int fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
      close(control);
      close(backing);
      return fd;
    }
    if (fd >= 0) close(fd);  // somebody else was quicker
  }
  fail("attach a loop device");
}

}  // namespace

OwnDisk::OwnDisk() : mount_(files_.path() / "mount") {
  use_own_mounts();
  auto image = (files_.path() / "image").string();
  test::run({"truncate", "-s", "256M", image});
  // Nothing is left for the file system's own threads to write later.
  test::run({"mkfs.ext4", "-q", "-N", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image});
  held_ = attach(image, device_);
  std::filesystem::create_directory(mount_);
  if (mount(device_.c_str(), mount_.c_str(), "ext4", 0, nullptr) != 0) fail("mount " + device_);
}

OwnDisk::~OwnDisk() {
  umount2(mount_.c_str(), MNT_DETACH);
  close(held_);
}

std::string OwnDisk::id() const {
  struct stat info{};
  stat(device_.c_str(), &info);
  return fmt::format("{}:{}", major(info.st_rdev), minor(info.st_rdev));
}

OwnCgroup::OwnCgroup(const std::string& name) {
  auto found = cgroup::io_hierarchy();
  if (!found) throw std::runtime_error(found.error());
  hierarchy_ = *found;
  group_.path = fmt::format("/sqtest-{}-{}", getpid(), name);
  group_.folder = hierarchy_.point + group_.path;
  if (mkdir(group_.folder.c_str(), 0755) != 0) fail("make the cgroup " + group_.folder);
}

OwnCgroup::~OwnCgroup() {
  remove();
}

void OwnCgroup::remove() {
  // Its last process may be a moment in going.
  for (int attempt = 0; attempt < 200 && rmdir(group_.folder.c_str()) != 0 && errno == EBUSY; ++attempt)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::string OwnCgroup::limit_file() const {
  return group_.folder +
         (hierarchy_.version == cgroup::Version::v2 ? "/io.max" : "/blkio.throttle.write_bps_device");
}

std::string OwnCgroup::write_limits() const {
  return std::string(trimmed(read_file(limit_file()).value_or("")));
}

void OwnCgroup::write(const std::string& line) const {
  write_file(limit_file(), line, "write " + limit_file());
}

DiskWorker::DiskWorker(const OwnDisk& disk, const OwnCgroup& cgroup, Use use, std::size_t block, int pause_ms)
    : block_(block) {
  auto* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail("share memory with a worker");
  operations_ = new (shared) std::atomic<std::uint64_t>(0);
  static int number = 0;
  auto file = fmt::format("{}/worker{}", disk.folder(), ++number);
  pid_ = fork();
  if (pid_ == 0) work(file, cgroup.group().folder, use, block, pause_ms);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (operations() == 0) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_)
      throw std::runtime_error(fmt::format("the worker on {} ended with status {}", file, status));
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the worker does not begin");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void DiskWorker::work(const std::string& file, const std::string& group, Use use, std::size_t block,
                      int pause_ms) {
  constexpr std::size_t file_bytes = 32 << 20;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bool direct = use == Use::direct_write || use == Use::direct_read;
  // First of all: cgroup v2 charges write-back to the one who brought a file's pages into memory.
  int procs = open((group + "/cgroup.procs").c_str(), O_WRONLY);
  if (procs < 0 || ::write(procs, "0", 1) != 1) _exit(15);
  close(procs);
  int fd = open(file.c_str(), O_RDWR | O_CREAT, 0644);
  void* buffer = nullptr;
  if (fd < 0 || posix_memalign(&buffer, 4096, 1 << 20) != 0) _exit(11);
  std::memset(buffer, 'x', 1 << 20);
  for (std::size_t at = 0; at < file_bytes; at += 1 << 20)
    if (pwrite(fd, buffer, 1 << 20, static_cast<off_t>(at)) < 0) _exit(12);
  if (fsync(fd) != 0) _exit(13);
  if (direct && fcntl(fd, F_SETFL, O_DIRECT) != 0) _exit(14);
  if (use == Use::holds_mapped &&
      (mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED || close(fd) != 0))
    _exit(17);
  for (std::size_t at = 0;; at = (at + block) % file_bytes) {
    auto offset = static_cast<off_t>(at);
    ssize_t done = 0;
    if (use == Use::direct_read || use == Use::cached_read) done = pread(fd, buffer, block, offset);
    if (use == Use::direct_write || use == Use::synced_write || use == Use::buffered_write)
      done = pwrite(fd, buffer, block, offset);
    if (done < 0 || (use == Use::synced_write && fdatasync(fd) != 0)) _exit(16);
    ++*operations_;
    if (use == Use::holds_open || use == Use::holds_mapped) pause();
    if (pause_ms) usleep(static_cast<useconds_t>(pause_ms) * 1000);
  }
}

void DiskWorker::stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

DiskWorker::~DiskWorker() {
  stop();
  munmap(operations_, 4096);
}

double DiskWorker::bytes_per_second(std::chrono::milliseconds over) const {
  auto begin = std::chrono::steady_clock::now();
  auto before = operations();
  std::this_thread::sleep_for(over);
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return static_cast<double>((operations() - before) * block_) / seconds;
}

}  // namespace squall::testing
