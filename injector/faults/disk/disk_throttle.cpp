// Slows a disk for the cgroups that use it, as a degraded array, a throttled cloud volume or a dead write
// cache would: io.max of cgroup v2, else blkio.throttle of v1. Measured: what the disk did for them, beside
// the limit.
#include "injector/faults/disk/disk_throttle.hpp"

#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "injector/faults/aim/aim_watch.hpp"
#include "injector/faults/aim/disk_aim.hpp"
#include "injector/faults/aim/limit_watch.hpp"
#include "injector/faults/disk/throttle_watch.hpp"
#include "injector/host/storage/device_limit.hpp"

namespace squall {

namespace faults {

struct DiskThrottle {
  std::optional<Rate> read_rate, write_rate;
  std::optional<Iops> read_iops, write_iops;
};

}  // namespace faults

// The kernel keeps operations per second in 32 bits, and a ramp starts a thousand times looser.
template <>
struct Describe<faults::DiskThrottle> {
  static const Object<faults::DiskThrottle>& object() {
    using faults::DiskThrottle;
    static const auto schema =
        Object<DiskThrottle>("limits how fast a disk reads and writes")
            .optional("read_rate", &DiskThrottle::read_rate, "bytes read per second")
            .between(&DiskThrottle::read_rate, Rate{1024}, Rate{std::int64_t{1} << 40})
            .optional("write_rate", &DiskThrottle::write_rate, "bytes written per second")
            .between(&DiskThrottle::write_rate, Rate{1024}, Rate{std::int64_t{1} << 40})
            .optional("read_iops", &DiskThrottle::read_iops, "reads per second")
            .between(&DiskThrottle::read_iops, Iops{1}, Iops{4'000'000})
            .optional("write_iops", &DiskThrottle::write_iops, "writes per second")
            .between(&DiskThrottle::write_iops, Iops{1}, Iops{4'000'000})
            .rule([](const DiskThrottle& with, const Value& value, Diagnostics& diagnostics) {
              if (!with.read_rate && !with.write_rate && !with.read_iops && !with.write_iops)
                diagnostics.error(
                    value.place,
                    "expected at least one of read_rate, write_rate, read_iops, write_iops, got none");
            });
    return schema;
  }
};

namespace faults {
namespace {

using cgroup::Limited;
using cgroup::Version;

struct Wanted {
  Limited what;
  std::uint64_t value;
};

std::vector<Wanted> wanted_limits(const DiskThrottle& with) {
  std::vector<Wanted> out;
  auto add = [&](Limited what, std::int64_t value) {
    out.push_back({what, static_cast<std::uint64_t>(value)});
  };
  if (with.read_rate) add(Limited::read_rate, with.read_rate->bytes_per_second);
  if (with.write_rate) add(Limited::write_rate, with.write_rate->bytes_per_second);
  if (with.read_iops) add(Limited::read_iops, with.read_iops->per_second);
  if (with.write_iops) add(Limited::write_iops, with.write_iops->per_second);
  return out;
}

// One limit that we keep: where it stands, what it was.
struct Knob {
  cgroup::DeviceLimit where;
  cgroup::Ladder ladder;
  cgroup::Limit before;
};

class Throttle : public Fault {
 public:
  Throttle(const DiskThrottle& with, DiskAim aim, const TargetSpec& on)
      : with_(with), aim_(std::move(aim)), rules_(on, aim_) {
    for (auto& user : aim_.users)
      add_user(user);
    for (auto& device : aim_.whole)
      watch_.count_all_of(device);
  }

  std::string mechanism() const override {
    return aim_.hierarchy.version == Version::v2 ? "io.max of cgroup v2" : "blkio.throttle of cgroup v1";
  }

  std::vector<std::string> targets() const override {
    std::vector<std::string> out;
    for (auto& user : aim_.users) {
      std::string names;
      for (auto& name : user.processes)
        names += (names.empty() ? "" : ", ") + name.name;
      out.push_back(fmt::format("{} for the cgroup {} ({})", user.disk.to_string(), user.group.path, names));
    }
    return out;
  }

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.insert(out.end(), notes_.begin(), notes_.end());
    if (with_.write_rate || with_.write_iops) out.push_back(write_back());
    return out;
  }

  std::vector<std::string> claims() const override {
    std::vector<std::string> out;
    for (auto& user : aim_.users)
      out.push_back(fmt::format("I/O limits of {} for {}", user.disk.id(), user.group.folder));
    return out;
  }

  Reach reach() const override {
    Reach out;
    for (auto& user : aim_.users) {
      out.cgroups.push_back({user.group.folder, aim_.hierarchy.version == Version::v2});
      out.disks.push_back(user.disk.id());
    }
    return out;
  }

  void apply(Transaction& transaction) override {
    std::set<std::string> enabled;
    for (auto& user : aim_.users)
      for (auto& parent : cgroup::lacking(aim_.hierarchy, user.group, "io"))
        if (enabled.insert(parent.folder).second) cgroup::enable_controller(transaction, parent, "io");
    for (auto& knob : knobs_)
      cgroup::limit_device(transaction, knob.where, knob.ladder, level_, knob.before);
  }

  void started() override {
    in_force_ = true;
    expect_limits();
    if (level_ >= 1) watch_.start();
  }

  // Only our own values are replaced: what somebody else wrote meanwhile stays, and the undo reports it.
  void set_level(double level) override {
    auto risen = level >= 1 && level_ < 1;
    level_ = level;
    if (!in_force_) return;
    rules_.look();
    for (auto& knob : knobs_) {
      auto now = cgroup::read_limit(knob.where);
      auto ours = now && *now && (knob.ladder.holds(**now) || *now == knob.before);
      auto value = knob.ladder.at(level, knob.before);
      if (!ours || *now == value) continue;
      try {
        cgroup::write_limit(knob.where, value);
        rules_.expect(knob.where, value);
      } catch (const std::exception&) {
        // The cgroup or the device went away; the dose will show that nothing was slowed.
      }
    }
    if (risen) watch_.start();
  }

  Dose measure() override {
    if (in_force_) look();
    auto dose = watch_.dose();
    return rules_.lost().empty() ? dose : doubted(std::move(dose), rules_.lost());
  }

  std::vector<FaultEvent> events() override { return rules_.events(); }

  void stopping() override {
    look();
    watch_.finish();
    in_force_ = false;
  }

 private:
  void look() {
    watch_.sample();
    rules_.look();
  }

  void expect_limits() {
    for (auto& knob : knobs_)
      rules_.expect(knob.where, knob.ladder.at(level_, knob.before));
  }

  // Whether the kernel knows in whose stead it writes buffered data back to that disk.
  bool writes_back(const DiskUser& user) const {
    return aim_.hierarchy.version == Version::v2 &&
           access((user.group.folder + "/memory.high").c_str(), F_OK) == 0;
  }

  // What becomes of buffered writes that nobody syncs: the kernel's own threads, which are in the root
  // cgroup, write them back; only v2 knows for whom, and only with the memory controller on
  // (Documentation/admin-guide/cgroup-v2.rst).
  std::string write_back() const {
    auto with_memory = [this](const DiskUser& user) { return writes_back(user); };
    auto with_io = [](const DiskUser& user) {
      return access((user.group.folder + "/io.max").c_str(), F_OK) == 0;
    };
    if (aim_.hierarchy.version == Version::v2)
      return std::all_of(aim_.users.begin(), aim_.users.end(), with_memory)
                 ? fmt::format(
                       "buffered writes are slowed when they are written back, on ext4, xfs, btrfs and "
                       "f2fs{}",
                       std::all_of(aim_.users.begin(), aim_.users.end(), with_io)
                           ? ""
                           : " (io is not on yet: what is dirty now, from its second write-back on)")
                 : "buffered writes without fsync are not slowed: the memory controller is off, so cgroup v2 "
                   "does not know "
                   "for whom they are written back";
    if (std::any_of(aim_.users.begin(), aim_.users.end(), [](auto& user) { return user.group.is_root(); }))
      return "the root cgroup is limited, and the kernel's write-back of everybody's buffered writes with it";
    return "buffered writes without fsync are not slowed: the kernel's own threads write them back, and "
           "cgroup v1 does "
           "not know for whom";
  }

  void add_user(const DiskUser& user) {
    ThrottleLimits reads, writes;
    for (auto& [what, value] : wanted_limits(with_)) {
      auto where = cgroup::device_limit(aim_.hierarchy.version, user.group.folder, user.disk.id(), what);
      auto before = cgroup::read_limit(where).value_or(cgroup::Limit{});
      auto& limits = what == Limited::read_rate || what == Limited::read_iops ? reads : writes;
      auto field = what == Limited::read_rate || what == Limited::write_rate ? &WorkLimits::bytes
                                                                             : &WorkLimits::operations;
      limits.prescribed.*field = value;
      auto lower = no_looser(where, before, user, what, value);
      if (lower.empty()) {
        limits.ours.*field = value;
        knobs_.push_back({where, cgroup::Ladder(value), before});
      } else {
        limits.lower += (limits.lower.empty() ? "" : "; ") + lower;
        notes_.push_back(lower + ": it stays, and nothing is changed");
      }
    }
    watch_.add(aim_.hierarchy, user, reads, writes, writes_back(user));
  }

  // A limit that is there already, of the group or (v2) of one above it, and lets no more through than what
  // is asked for.
  std::string no_looser(const cgroup::DeviceLimit& where, cgroup::Limit before, const DiskUser& user,
                        Limited what, std::uint64_t value) const {
    auto said = [&](const cgroup::DeviceLimit& one, std::uint64_t is) {
      return fmt::format("{} is {} already, which is no looser than {}", one.to_string(), is, value);
    };
    if (before && *before <= value) return said(where, *before);
    if (aim_.hierarchy.version == Version::v1) return "";
    for (auto folder = user.group.folder;
         folder.size() > aim_.hierarchy.point.size() && folder.find('/') != std::string::npos;) {
      folder.resize(folder.rfind('/'));
      auto above = cgroup::device_limit(Version::v2, folder, user.disk.id(), what);
      if (auto now = cgroup::read_limit(above); now && *now && **now <= value) return said(above, **now);
    }
    return "";
  }

  DiskThrottle with_;
  DiskAim aim_;
  std::vector<Knob> knobs_;
  std::vector<std::string> notes_;
  ThrottleWatch watch_;
  LimitWatch rules_;
  double level_ = 1;
  bool in_force_ = false;
};

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  DiskThrottle with;
  if (!Describe<DiskThrottle>::object().decode(value, with, diagnostics)) return nullptr;
  auto aim = find_disk_users(on, setting);
  if (!aim) {
    diagnostics.error({}, aim.error());
    return nullptr;
  }
  return std::make_unique<Throttle>(with, std::move(*aim), on);
}

Capability capability(Version version) {
  Capability out;
  auto hierarchy = cgroup::io_hierarchy(version);
  out.mechanism = version == Version::v2 ? "io.max of cgroup v2" : "blkio.throttle of cgroup v1";
  out.measures =
      version == Version::v2
          ? "bytes and operations of each cgroup at the disk (io.stat), write-back included; not the root "
            "cgroup"
          : "bytes and operations of each cgroup at the disk (blkio.throttle.io_service_bytes); not buffered "
            "writes that the kernel writes back later: those are not slowed either";
  if (!hierarchy)
    out.missing = hierarchy.error();
  else if (version == Version::v1 &&
           access((hierarchy->point + "/blkio.throttle.write_bps_device").c_str(), F_OK) != 0)
    out.missing = "the kernel was built without CONFIG_BLK_DEV_THROTTLING";
  else if (geteuid() != 0)
    out.missing = "only root may set limits of cgroups that are not its own";
  else
    out.possible = true;
  return out;
}

std::vector<Capability> doctor() {
  std::vector<Capability> out{capability(Version::v2), capability(Version::v1)};
  // As io_hierarchy() chooses: v2 wherever it has the controller.
  auto chosen = out[0].possible || cgroup::io_hierarchy(Version::v2) ? 0U : 1U;
  out[chosen].chosen = out[chosen].possible;
  return out;
}

}  // namespace

const FaultType disk_throttle{
    .name = "disk.throttle",
    .sentence =
        "limits how fast processes read from and write to a disk, as a degraded array or a throttled volume "
        "would",
    .parameters = &Describe<DiskThrottle>::object(),
    .aims = {"path", "device", "exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup",
             "container", "user"},
    .lasting = true,
    .ramps = true,
    .undo = "the limits that were there before are put back, each field of each device for itself",
    .examples = {"write_rate=1MiB/s --on path=/var/lib/storage --for 30s",
                 "read_iops=50 write_iops=50 --on unit=postgresql.service --for 30s"},
    .prepare = prepare,
    .doctor = doctor};

}  // namespace faults
}  // namespace squall
