// An overlay without a fault beside the bare folder and, where libfuse's examples are installed
// (libfuse3-dev), its passthrough_ll with its cache off (as the overlay's must be) and on. Root; a mount
// namespace of its own.
//
//   overlay_bench [SECONDS of each measurement]
#include <cstdio>
#include <cstdlib>

#include <sys/resource.h>

#include "injector/overlay/detach.hpp"
#include "injector/overlay/overlay.hpp"
#include "injector/system/read_file.hpp"
#include "tests/support/own_mounts.hpp"

namespace squall {
namespace {

using testing::OwnMounts;
using Clock = std::chrono::steady_clock;

double rate(double seconds, const std::function<bool(long)>& act) {
  const auto from = Clock::now();
  long done = 0;
  std::chrono::duration<double> took{};
  for (; took.count() < seconds && act(done); ++done)
    took = Clock::now() - from;
  return static_cast<double>(done) / took.count();
}

// Megabytes a second of 128k, and operations a second of the others.
std::string figures(const std::string& folder, double seconds) {
  constexpr std::size_t big = 131072, small = 4096;
  constexpr long pieces = 1024;
  alignas(4096) static char data[big];
  const int file = ::open((folder + "/bench").c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0) return "cannot open";
  auto sequential = [&](bool write) {
    return rate(seconds,
                [&](long i) {
                  const auto at = i % pieces * static_cast<long>(big);
                  return (write ? ::pwrite(file, data, big, at) : ::pread(file, data, big, at)) > 0;
                }) *
           big / 1e6;
  };
  const auto written = sequential(true), read = sequential(false);
  const auto cached =
      rate(seconds, [&](long i) { return ::pread(file, data, small, i * 7919 % 32768 * 4096) > 0; });
  const int direct = ::open((folder + "/bench").c_str(), O_RDWR | O_DIRECT);
  const auto uncached =
      rate(seconds, [&](long i) { return ::pread(direct, data, small, i * 7919 % 32768 * 4096) > 0; });
  const auto synced = rate(seconds, [&](long i) {
    return ::pwrite(file, data, small, i % 1000 * 4096) > 0 && ::fdatasync(file) == 0;
  });
  ::close(direct);
  ::close(file);
  return fmt::format("{:9.0f} {:9.0f} {:12.0f} {:12.0f} {:12.0f}", written, read, cached, uncached, synced);
}

void print(const char* what, const std::string& said) {
  std::printf("%-34s %s\n", what, said.c_str());
  std::fflush(stdout);
}

double processor_seconds(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/schedstat", pid)).value_or("0");
  return std::strtod(text.c_str(), nullptr) / 1e9;
}

void bench_overlay(const OwnMounts& mounts, double seconds) {
  const auto stat = read_process_stat(mounts.pid());
  overlay::Overlay overlay{{mounts.pid(), stat->start_ticks, mounts.folder()}, "squall-bench", 1};
  overlay.attach();
  print("overlay", mounts.inside([&] { return figures(mounts.folder(), seconds); }, 600'000));
  double before = 0, after = 0;
  const auto processes = overlay::processes_of("squall-bench");
  for (const auto pid : processes)
    before += processor_seconds(pid);
  ::sleep(2);
  for (const auto pid : processes)
    after += processor_seconds(pid);
  std::printf("  idle for 2 s, its main threads used %.6f s of a CPU\n", after - before);
  overlay.release();
}

void bench_example(const OwnMounts& mounts, const char* what, const std::string& cache, double seconds) {
  const auto made = mounts.bare() + "/passthrough_ll";
  if (std::system(
          fmt::format("cc -O2 -D_FILE_OFFSET_BITS=64 -I/usr/include/fuse3 -o {} "
                      "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c -lfuse3 -lpthread 2>/dev/null",
                      made)
              .c_str()) != 0) {
    print(what, "not here");
    return;
  }
  print(what, mounts.inside(
                  [&] {
                    if (std::system(fmt::format("{} -o source={},cache={} {} 2>/dev/null", made,
                                                mounts.bare(), cache, mounts.folder())
                                        .c_str()) != 0)
                      return std::string{"does not mount"};
                    auto said = figures(mounts.folder(), seconds);
                    ::umount2(mounts.folder().c_str(), MNT_DETACH);
                    return said;
                  },
                  600'000));
}

}  // namespace
}  // namespace squall

int main(int count, char** words) {
  using namespace squall;
  const double seconds = count > 1 ? std::strtod(words[1], nullptr) : 2;
  const testing::OwnMounts mounts;
  std::printf("%-34s %9s %9s %12s %12s %12s\n", "", "MB/s", "MB/s", "op/s", "op/s", "op/s");
  std::printf("%-34s %9s %9s %12s %12s %12s\n", "", "write", "read", "4k cached", "4k O_DIRECT", "4k + sync");
  print("bare folder", mounts.inside([&] { return figures(mounts.folder(), seconds); }, 600'000));
  bench_overlay(mounts, seconds);
  bench_example(mounts, "passthrough_ll, cache=never", "never", seconds);
  bench_example(mounts, "passthrough_ll, cache=auto", "auto", seconds);
  print("bare folder again", mounts.inside([&] { return figures(mounts.folder(), seconds); }, 600'000));
}
