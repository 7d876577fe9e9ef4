#include "injector/faults/files/folder_fault.hpp"

#include <algorithm>
#include <cmath>

#include <unistd.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall::faults {
namespace {

using overlay::Kind;

constexpr std::array<std::string_view, overlay::kinds> names{"read", "write", "flush"};
constexpr std::array<std::string_view, overlay::kinds> many{"reads", "writes", "flushes"};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Reads and writes of any kind that a process asked for (proc_pid_io(5)).
std::uint64_t system_calls(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/io", pid)).value_or("");
  std::uint64_t out = 0;
  for (const std::string_view key : {"syscr: ", "syscw: "})
    if (const auto at = text.find(key); at != text.npos)
      out += std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
  return out;
}

class FolderFault : public Fault {
 public:
  FolderFault(const FolderRules& rules, FolderAim aim, const Setting& setting)
      : rules_(rules),
        aim_(std::move(aim)),
        overlay_(std::make_shared<overlay::Overlay>(aim_.place, tag(setting), setting.seed)) {}

  std::string mechanism() const override { return "overlay by FUSE"; }

  std::vector<std::string> targets() const override {
    std::vector<std::string> out{
        aim_.place.pid == ::getpid()
            ? aim_.place.path
            : fmt::format("{} in the mount namespace of pid {}", aim_.place.path, aim_.place.pid)};
    for (auto& user : aim_.users)
      out.push_back(user.to_string());
    return out;
  }

  std::vector<std::string> limits() const override {
    std::vector<std::string> out;
    for (auto& holder : aim_.holders)
      out.push_back(holder.to_string() + " from before the overlay: not reached");
    out.emplace_back(
        "locks, FIFOs and unix sockets from before the overlay and through it do not meet: each side has its "
        "own");
    out.emplace_back("a rename or link that is under way as the overlay comes or goes may fail with EXDEV");
    out.emplace_back(
        "what a memory map through the overlay reads and writes is cached, and met only page by page");
    return out;
  }

  std::vector<std::string> claims()
      const override {  // A file system that hangs would hang those who look at its files for us.
    return {"overlay over " + aim_.place.path, "the file system " + aim_.disk};
  }

  Reach reach() const override {
    Reach out;
    out.processes = aim_.users;
    if (!aim_.disk.empty() && !aim_.disk.starts_with("0:")) out.disks.push_back(aim_.disk);
    return out;
  }

  void apply(Transaction& transaction) override {
    set_rules();
    overlay::put_over(transaction, overlay_);
  }

  void started() override {
    for (auto& holder : aim_.holders)
      calls_before_[holder.process.pid] = system_calls(holder.process.pid);
    FolderProbe::Kinds kinds{};
    for (std::size_t kind = 0; kind < overlay::kinds; ++kind)
      kinds[kind] = rules_.concerns(kind);
    probe_.start(overlay_, kinds, rules_.error);
  }

  void set_level(double level) override {
    const bool risen = level >= 1 && level_ < 1;
    level_ = level;
    set_rules();
    if (risen) probe_.forget();
  }

  Dose measure() override {
    if (final_) return *final_;
    Dose dose;
    std::string doubt;
    for (std::size_t kind = 0; kind < overlay::kinds; ++kind)
      if (rules_.concerns(kind)) add(dose, kind, doubt);
    if (rules_.share < 1) dose.prescribed["share_percent"] = rules_.share * 100;
    add_holders(dose, doubt);
    if (const auto why = probe_.unknown(); !why.empty()) doubt = why;
    dose.verified = doubt.empty();
    dose.reason = doubt;
    return dose;
  }

  void stopping() override {
    final_ = measure();
    overlay::let_go(overlay_->shared());
    probe_.stop();
  }

 private:
  static std::string tag(const Setting& setting) {
    static std::atomic<unsigned> made{0};
    return fmt::format("squall-{}-{}-{}", setting.session, ::getpid(), ++made);
  }

  void set_rules() {
    auto& shared = overlay_->shared();
    for (std::size_t kind = 0; kind < overlay::kinds; ++kind) {
      auto& rule = shared.rules[kind];
      const auto part = [this](std::int64_t full) {
        return static_cast<std::int64_t>(std::llround(static_cast<double>(full) * level_));
      };
      rule.jitter_ns = part(rules_.delay_ns[kind] ? rules_.jitter_ns : 0);
      rule.delay_ns = part(rules_.delay_ns[kind]);
      rule.error = rules_.fails[kind] ? rules_.error : 0;
    }
    // Errors rise in their share, delays in their length.
    shared.share_ppm = static_cast<std::uint32_t>(rules_.share * (rules_.error ? level_ : 1) * 1e6);
  }

  void add(Dose& dose, std::size_t kind, std::string& doubt) {
    const auto probed = probe_.seen(static_cast<Kind>(kind));
    if (rules_.fails[kind])
      add_errors(dose, kind, probed, doubt);
    else
      add_delay(dose, kind, probed, doubt);
    const auto& count = overlay_->shared().counts[kind];
    const std::uint64_t seen = count.seen, met = count.met;
    dose.shares.push_back(
        {std::string(many[kind]) + " through the overlay", met, seen - std::min(met, seen), {}, ""});
    if (rules_.share < 1 && seen > met)
      dose.shares.back().by.push_back(fmt::format("{} were left alone, as share asks", seen - met));
    if (!met && doubt.empty()) doubt = fmt::format("none of the service's {} met it", many[kind]);
  }

  void add_delay(Dose& dose, std::size_t kind, const Probed& probed, std::string& doubt) const {
    const auto asked = static_cast<double>(rules_.delay_ns[kind]) / 1e6;
    const auto bare = median(probed.bare_ms);
    std::vector<double> longer;
    for (const auto one : probed.through_ms)
      if (rules_.share >= 1 || one - bare >= asked / 2) longer.push_back(one - bare);
    const auto key = fmt::format("{}_ms", names[kind]);
    dose.prescribed[key] = asked;
    dose.samples += longer.size();
    if (!longer.empty()) dose.measured[key] = median(longer);
    dose.measured[fmt::format("bare_{}_ms", names[kind])] = bare;
    if (rules_.share < 1 && !probed.through_ms.empty())
      dose.measured[fmt::format("{}_share_percent", names[kind])] =
          100. * static_cast<double>(longer.size()) / static_cast<double>(probed.through_ms.size());
    if (longer.empty() || median(longer) < asked * 0.8)
      doubt = longer.empty() ? fmt::format("no delayed {} was seen", names[kind])
                             : fmt::format("a {} took {:.1f} ms longer than in the bare folder, not {:.1f}",
                                           names[kind], median(longer), asked);
  }

  void add_errors(Dose& dose, std::size_t kind, const Probed& probed, std::string& doubt) const {
    const auto key = fmt::format("{}_errors_percent", names[kind]);
    dose.prescribed[key] = rules_.share * 100;
    dose.prescribed["error"] = rules_.error_name;
    dose.samples += probed.total();
    if (probed.total())
      dose.measured[key] = 100. * static_cast<double>(probed.failed) / static_cast<double>(probed.total());
    if (!probed.failed) doubt = fmt::format("no {} failed with {}", names[kind], rules_.error_name);
  }

  // What those did who hold descriptors from before: everything that they read or wrote and that did not come
  // through the overlay, to sockets as well.
  void add_holders(Dose& dose, std::string& doubt) {
    if (calls_before_.empty()) return;
    std::uint64_t met = 0, passed = 0;
    for (auto& [pid, before] : calls_before_) {
      const auto through = came_through(pid), now = system_calls(pid);
      met += through;
      passed += now > before + through ? now - before - through : 0;
    }
    dose.shares.push_back({"reads and writes of processes with descriptors from before",
                           met,
                           passed,
                           {"what went by is theirs of any kind, also on sockets"},
                           ""});
    std::uint64_t all = 0;
    for (auto& count : overlay_->shared().counts)
      all += count.seen;
    if (passed > all && doubt.empty())
      doubt = fmt::format(
          "{} operations came through the overlay, and processes that have descriptors from before did "
          "{} beside it",
          all, passed);
  }

  std::uint64_t came_through(pid_t pid) const {
    std::uint64_t out = 0;
    for (auto& one : overlay_->shared().processes)
      if (one.pid && (one.pid == pid ||
                      ::access(fmt::format("/proc/{}/task/{}", pid, one.pid.load()).c_str(), F_OK) == 0))
        out += one.operations;
    return out;
  }

  FolderRules rules_;
  FolderAim aim_;
  std::shared_ptr<overlay::Overlay> overlay_;
  FolderProbe probe_;
  std::map<pid_t, std::uint64_t> calls_before_;
  std::optional<Dose> final_;
  double level_ = 1;
};

}  // namespace

std::unique_ptr<Fault> make_folder_fault(const FolderRules& rules, const TargetSpec& on,
                                         const Setting& setting, Diagnostics& diagnostics) {
  auto aim = find_folder(on, setting);
  if (!aim) {
    diagnostics.error({}, aim.error());
    return nullptr;
  }
  return std::make_unique<FolderFault>(rules, std::move(*aim), setting);
}

std::vector<Capability> folder_doctor() {
  Capability out;
  out.mechanism = "overlay by FUSE";
  out.measures =
      "operations of its own through the overlay beside the same in the bare folder; not those of processes "
      "that have "
      "descriptors from before";
  out.missing = overlay::missing();
  out.possible = out.chosen = out.missing.empty();
  return {out};
}

FaultType folder_fault_type(std::string_view name, std::string_view sentence) {
  FaultType out;
  out.name = name;
  out.sentence = sentence;
  out.aims = {"path",    "exe",  "command", "listens_on", "pid",
              "pidfile", "unit", "cgroup",  "container",  "user"};
  out.ramps = true;
  out.undo = "the overlay is detached; files that are open through it are served until they are closed";
  out.doctor = folder_doctor;
  return out;
}

}  // namespace squall::faults
