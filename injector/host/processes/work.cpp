// What workers do: each in a process of its own.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "injector/host/processes/worker.hpp"
#include "injector/system/mounts.hpp"
#include "injector/system/process.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;

// Limits of the injector's own cgroup are not the host's.
void leave_cgroups() {
  for (auto& mount : read_mounts())
    if (mount.type == "cgroup2" || mount.type == "cgroup")
      std::ofstream{mount.point + "/cgroup.procs"} << "0";
}

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Keeps its own processor time at that share of the time that has passed: what it was kept from in one moment
// it takes in the next, but no more than was due within half a second.
[[noreturn]] void burn(int core, double share) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(core, &only);
  ::sched_setaffinity(0, sizeof only, &only);
  const double since = seconds_of(CLOCK_MONOTONIC);
  double forgiven = 0;
  for (;;) {
    double due =
        (seconds_of(CLOCK_MONOTONIC) - since) * share - forgiven - seconds_of(CLOCK_THREAD_CPUTIME_ID);
    if (due > 0.5) {
      forgiven += due - 0.5;
      due = 0.5;
    }
    const double until = seconds_of(CLOCK_THREAD_CPUTIME_ID) + due;
    while (seconds_of(CLOCK_THREAD_CPUTIME_ID) < until) {
    }
    std::this_thread::sleep_for(share >= 1 ? 0ms : 5ms);
  }
}

int burn_all(const std::vector<std::string>& arguments) {
  leave_cgroups();
  ::setpriority(PRIO_PROCESS, 0, -20);
  std::ofstream{"/proc/self/autogroup"} << "-20";  // between autogroups it is theirs that counts (sched(7))
  const double share = std::atof(arguments[1].c_str());
  std::vector<std::thread> threads;
  for (std::size_t at = 2; at < arguments.size(); ++at)
    threads.emplace_back([core = std::atoi(arguments[at].c_str()), share] { burn(core, share); });
  for (auto& thread : threads)
    thread.join();
  return 0;
}

int hold(const std::vector<std::string>& arguments) {
  leave_cgroups();
  std::ofstream{"/proc/self/oom_score_adj"} << arguments[3];
  const auto bytes = static_cast<std::size_t>(std::atoll(arguments[1].c_str()));
  const double rate = std::atof(arguments[2].c_str());
  // What it has anyway, told first.
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) std::printf("%lld\n", std::atoll(line.c_str() + 8) * 1024);
  std::fflush(stdout);
  auto* const all = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (all == MAP_FAILED) return 1;
  // Page by page: a huge page would take more than is due.
  ::madvise(all, bytes, MADV_NOHUGEPAGE);
  ::mlockall(MCL_CURRENT | MCL_ONFAULT);  // stays in memory; where that is not allowed it may be swapped out
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const double since = seconds_of(CLOCK_MONOTONIC);
  for (std::size_t done = 0; done < bytes;) {
    const double due = rate > 0 ? (seconds_of(CLOCK_MONOTONIC) - since) * rate : static_cast<double>(bytes);
    for (; done < bytes && static_cast<double>(done) < due; done += page)
      all[done] = 1;
    if (done < bytes) std::this_thread::sleep_for(5ms);
  }
  for (;;)
    ::pause();
}

int touch(const std::string& folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return 1;
  for (;;) {
    if (::pwrite(file, "squall", 6, 0) == 6 && ::fdatasync(file) == 0) {
      std::printf("%lld\n", static_cast<long long>(monotonic_ns()));
      std::fflush(stdout);
    }
    std::this_thread::sleep_for(20ms);
  }
}

}  // namespace

int work(const std::vector<std::string>& arguments) {
  const auto is = [&](const char* name, std::size_t least) {
    return arguments.size() >= least && arguments[0] == name;
  };
  if (is("burn", 3)) return burn_all(arguments);
  if (is("hold", 4)) return hold(arguments);
  if (is("touch", 2)) return touch(arguments[1]);
  return 2;
}

}  // namespace squall
