// process.limit: running processes may have fewer descriptors, or start fewer processes, than before.
#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/processes/limits.hpp"
#include "injector/system/open_files.hpp"
#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

constexpr limits::Resource files{RLIMIT_NOFILE, "open files"}, processes_of_user{RLIMIT_NPROC, "processes"};

std::size_t open_descriptors(const Process& process) {
  return entries(fmt::format("/proc/{}/fd", process.pid)).size();
}

struct ProcessLimit {
  std::optional<std::uint64_t> files, processes;
};
const auto parameters =
    Object<ProcessLimit>{"lowers limits of running processes"}
        .optional("files", &ProcessLimit::files,
                  "the most open files (descriptors) each may have; those open stay open")
        .between(&ProcessLimit::files, std::uint64_t{1}, std::uint64_t{1} << 30)
        .optional(
            "processes", &ProcessLimit::processes,
            "the most processes and threads of its user with which it may start another; root is not limited")
        .between(&ProcessLimit::processes, std::uint64_t{1}, std::uint64_t{1} << 22)
        .rule([](const ProcessLimit& with, const Value& value, Diagnostics& diagnostics) {
          if (!with.files && !with.processes) diagnostics.error(value.place, "expected files or processes");
        });

struct Lowered {
  Lowered(const ProcessLimit& with, Target& target) : with(with), processes(target.pick(Amount::all())) {
    for (auto& process : processes)
      for (auto& [resource, to] : asked())
        if (const auto now = limits::read(process, resource); now && now->rlim_cur <= to)
          target.refuse("", fmt::format("{} may have {} {} already, no more than {}", process.to_string(),
                                        now->rlim_cur, resource.name, to));
    target.claim("limits of", processes);
    target.caveat(
        "holds for these processes; children that they start meanwhile inherit it and keep it after the end, "
        "and "
        "what they started before has its own");
  }

  void apply(Transaction& host) {
    for (auto& process : processes)
      for (auto& [resource, to] : asked())
        limits::lower(host, process, resource, to);
  }
  // The limit is what the kernel says it is; whether anybody met it is seen by the descriptors that are open.
  void measure(Dose& dose) {
    std::size_t limited = 0, met = 0, most = 0;
    for (auto& process : processes) {
      bool held = true;
      for (auto& [resource, to] : asked()) {
        const auto now = limits::read(process, resource);
        held = held && now && now->rlim_cur == to;
      }
      limited += held;
      most = std::max(most, open_descriptors(process));
      if (with.files && open_descriptors(process) >= *with.files) ++met;
    }
    dose.expect("processes", static_cast<double>(processes.size()), static_cast<double>(limited));
    if (with.files) {
      dose.note("most_open_files", most);
      ever_met = ever_met || met > 0;
      if (!ever_met)
        dose.doubt(fmt::format("none of them had {} files open: nobody was refused one", *with.files));
    } else {
      dose.doubt("whether a process was refused is not seen from outside");
    }
  }

 private:
  std::vector<std::pair<limits::Resource, rlim_t>> asked() const {
    std::vector<std::pair<limits::Resource, rlim_t>> out;
    if (with.files) out.emplace_back(files, *with.files);
    if (with.processes) out.emplace_back(processes_of_user, *with.processes);
    return out;
  }
  ProcessLimit with;
  std::vector<Process> processes;
  bool ever_met = false;
};

}  // namespace

extern const FaultType process_limit;
const FaultType process_limit = fault<ProcessLimit, Lowered>({
    .info = {.name = "process.limit",
             .sentence = "lowers limits of running processes: open files, processes",
             .aims = process_keys(),
             .undo = "each process that is still there has its own limit again",
             .examples = {"files=64 --on listens_on=6379 --for 30s"},
             .mechanism = "prlimit, soft limits",
             .measures = "the limits as the kernel has them, and how many files are open"},
    .parameters = &parameters,
    .does = by_itself<ProcessLimit, Lowered>(),
});

}  // namespace squall::faults
