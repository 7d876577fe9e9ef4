// What an injector costs while nothing is in force: resident memory, and how often it wakes up. Root; a
// network namespace of its own.
#include <fstream>
#include <thread>

#include <sched.h>

#include <fmt/format.h>

#include "tests/support/injector_process.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

std::int64_t status_of(const std::filesystem::path& task, std::string_view field) {
  std::ifstream status{task / "status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(field.size() + 1));
  return 0;
}

std::int64_t woken(pid_t pid) {
  std::int64_t sum = 0;
  for (auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid)))
    sum += status_of(task.path(), "voluntary_ctxt_switches:");
  return sum;
}

void tell(const std::string& when, test::InjectorProcess& injector) {
  std::this_thread::sleep_for(std::chrono::seconds{1});  // what still had to be tidied up
  const auto before = woken(injector.pid());
  std::this_thread::sleep_for(std::chrono::seconds{5});
  const std::filesystem::path process = fmt::format("/proc/{}", injector.pid());
  std::printf("  %-40s %6.1f MiB resident (%.1f of its own), %lld wake-ups in 5 s\n", when.c_str(),
              static_cast<double>(status_of(process, "VmRSS:")) / 1024,
              static_cast<double>(status_of(process, "RssAnon:")) / 1024,
              static_cast<long long>(woken(injector.pid()) - before));
}

int bench() {
  if (::unshare(CLONE_NEWNET) != 0) throw std::runtime_error("needs root");
  test::run({"ip", "link", "set", "lo", "up"});
  test::TemporaryDirectory folder;
  test::InjectorProcess injector{(folder.path() / "state").string()};
  injector.must({{"do", "hello"}, {"version", 1}, {"run", "bench"}});
  std::printf("idle injector\n");
  tell("after hello", injector);
  injector.must({{"do", "apply"},
                 {"step", "bench"},
                 {"fault", "network.delay"},
                 {"on", boost::json::object{{"interface", "lo"}}},
                 {"with", boost::json::object{{"delay", "1ms"}}},
                 {"seed", 1},
                 {"for_ns", 60'000'000'000}});
  injector.must({{"do", "undo"}, {"step", "bench"}});
  tell("after a fault and its undo", injector);
  return 0;
}

}  // namespace
}  // namespace squall

int main() {
  try {
    return squall::bench();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "idle_bench: %s\n", e.what());
    return 1;
  }
}
