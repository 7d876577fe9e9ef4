// From "apply" received to the fault in force with its undo on disk, and from "undo" to the host as it was;
// beside the usual tools doing less (no undo, nothing read back), in the same run. Root; a network namespace,
// a loop device and a cgroup of its own.
//
//   apply_bench [TIMES]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include "injector/session/protocol.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

struct Times {
  std::vector<double> all;
  void add(double ms) { all.push_back(ms); }
  double at(double share) {
    std::sort(all.begin(), all.end());
    return all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
  }
};

void print(const std::string& what, Times& times) {
  std::printf("  %-58s median %7.3f ms   p99 %7.3f ms   (%zu times)\n", what.c_str(), times.at(0.5),
              times.at(0.99), times.all.size());
}

double ms(const json::value& ns) {
  return static_cast<double>(ns.to_number<std::int64_t>()) / 1e6;
}

void measure(test::InjectorProcess& injector, const std::string& name, json::object on, json::object with,
             int times) {
  Times apply, full, undo, whole;
  std::string mechanism;
  for (int i = 0; i < times + 3; ++i) {
    json::object request{{"step", "bench"}, {"fault", name}, {"on", on},
                         {"with", with},    {"seed", 1},     {"for_ns", 60'000'000'000}};
    const bool prepared = i % 2 == 1;
    if (prepared) {
      request["do"] = "prepare";
      injector.must(request);
      request.erase("fault");
    }
    request["do"] = "apply";
    const auto start = Clock::now();
    const auto applied = injector.must(request);
    const double took = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    const auto undone = injector.must({{"do", "undo"}, {"step", "bench"}});
    // The kernel still tidies up after the last one (a grace period of RCU); a drill never follows it so
    // closely.
    ::usleep(60'000);
    mechanism = std::string(applied.at("mechanism").as_string());
    if (i < 3) continue;  // the guardian starts, caches warm up
    (prepared ? apply : full).add(ms(applied.at("apply_ns")));
    if (prepared) whole.add(took);
    undo.add(ms(undone.at("undo_ns")));
  }
  std::printf("%s on %s by %s\n", name.c_str(), json::serialize(on).c_str(), mechanism.c_str());
  print("apply received -> in force, undo on disk (prepared)", apply);
  print("apply received -> targets found, in force, undo on disk", full);
  print("request -> answer, as the caller sees both", whole);
  print("undo received -> as it was", undo);
}

void tool(const std::string& what, const std::vector<std::string>& there,
          const std::vector<std::string>& back, int times) {
  Times forth;
  for (int i = 0; i < times; ++i) {
    const auto start = Clock::now();
    test::run(there);
    forth.add(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    test::run(back);
  }
  print(what, forth);
}

std::string first_line(std::string text) {
  return text.substr(0, text.find('\n'));
}

// A loop device with a file system, and a process in a cgroup of its own that has a file open on it.
class Volume {
 public:
  explicit Volume(const fs::path& folder) : mount_((folder / "volume").string()) {
    const auto image = (folder / "image").string();
    test::run({"truncate", "-s", "32M", image});
    test::run({"mkfs.ext4", "-q", image});
    loop = first_line(test::run({"losetup", "-f", "--show", image}));
    fs::create_directory(mount_);
    test::run({"mount", loop, mount_});
    number = first_line(test::run({"lsblk", "-ndo", "MAJ:MIN", loop}));
    number.erase(0, number.find_first_not_of(' '));
    group = fmt::format("/sys/fs/cgroup/{}squall-bench-{}",
                        fs::exists("/sys/fs/cgroup/blkio") ? "blkio/" : "", ::getpid());
    fs::create_directory(group);
    user = ::fork();
    if (user == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::ofstream{group + "/cgroup.procs"} << ::getpid() << std::endl;
      std::ofstream file{mount_ + "/file"};
      for (;;)
        ::pause();
    }
    while (fs::is_empty(mount_ + "/") || !fs::exists(mount_ + "/file"))
      ::usleep(1000);
  }
  ~Volume() {
    ::kill(user, SIGKILL);
    ::waitpid(user, nullptr, 0);
    test::run({"umount", mount_});
    test::run({"losetup", "-d", loop});
    fs::remove(group);
  }
  std::string loop, number, group;
  pid_t user = -1;

 private:
  std::string mount_;
};

}  // namespace
}  // namespace squall

int main(int count, char** arguments) {
  using namespace squall;
  const int times = count > 1 ? std::atoi(arguments[1]) : 200;
  if (::unshare(CLONE_NEWNET) != 0) {
    std::perror("make a network namespace");
    return 1;
  }
  test::run({"ip", "link", "set", "lo", "up"});
  test::run({"ip", "link", "add", "sqbench0", "up", "type", "veth", "peer", "name", "sqbench1"});
  test::run({"ip", "link", "set", "sqbench1", "up"});
  const test::TemporaryDirectory folder;
  const Volume volume(folder.path());
  {
    test::InjectorProcess injector((folder.path() / "state").string());
    injector.must({{"do", "hello"}, {"version", protocol_version}, {"run", "bench"}});
    measure(injector, "network.delay", {{"interface", "lo"}}, {{"delay", "20ms"}}, times);
    measure(injector, "network.delay", {{"interface", "sqbench0"}}, {{"delay", "20ms"}}, times);
    measure(injector, "disk.throttle", {{"pid", volume.user}}, {{"write_rate", "1MiB/s"}}, times);
  }
  std::printf("the usual tools, started and ended\n");
  tool("tc qdisc add dev lo root pfifo", {"tc", "qdisc", "add", "dev", "lo", "root", "pfifo"},
       {"tc", "qdisc", "del", "dev", "lo", "root"}, times);
  tool("nft add table", {"nft", "add", "table", "inet", "bench"}, {"nft", "delete", "table", "inet", "bench"},
       times);
  const bool v1 = volume.group.find("/blkio/") != std::string::npos;
  const auto file = volume.group + (v1 ? "/blkio.throttle.write_bps_device" : "/io.max");
  tool("sh -c 'echo … > the throttle file'",
       {"sh", "-c", fmt::format("echo '{} {}1048576' > {}", volume.number, v1 ? "" : "wbps=", file)},
       {"sh", "-c", fmt::format("echo '{} {}' > {}", volume.number, v1 ? "0" : "wbps=max", file)}, times);
}
