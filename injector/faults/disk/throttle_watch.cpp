#include "injector/faults/disk/throttle_watch.hpp"

#include <charconv>

#include "injector/system/read_file.hpp"
#include "scenarios/text/readable.hpp"

namespace squall::faults {
namespace {

constexpr const char* verbs[] = {"read", "wrote"};
constexpr const char* nouns[] = {"read", "write"};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Calls back with the words of each line that begins with the device.
void each_line_of(std::string_view text, std::string_view device,
                  const std::function<void(std::string_view)>& each) {
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with(device) && line.substr(device.size()).starts_with(' '))
      each(line.substr(device.size() + 1));
  }
}

std::uint64_t counter(std::string_view text, std::string_view device, std::string_view name) {
  std::uint64_t value = 0;
  each_line_of(text, device, [&](std::string_view line) {
    if (line.starts_with(name)) value = number(line.substr(name.size()));
  });
  return value;
}

block::Totals own_counters(cgroup::Version version, const DiskUser& user) {
  auto file = [&](const char* name) { return read_file(user.group.folder + "/" + name).value_or(""); };
  if (version == cgroup::Version::v2) return parse_io_stat(file("io.stat"), user.disk.id());
  return parse_blkio_counters(file("blkio.throttle.io_service_bytes"), file("blkio.throttle.io_serviced"),
                              user.disk.id());
}

// v2: what was written without being in the account of a cgroup: write-back for those that the kernel cannot
// tell.
std::uint64_t written_by_root(const cgroup::Hierarchy& hierarchy, const block::Device& disk) {
  if (hierarchy.version == cgroup::Version::v1) return 0;
  std::uint64_t accounted = 0;
  for (auto& child : entries(hierarchy.point))
    if (auto stat = read_file(child / "io.stat")) accounted += parse_io_stat(*stat, disk.id()).write_bytes;
  auto all = block::completed(disk).value_or(block::Totals{}).write_bytes;
  return all > accounted ? all - accounted : 0;
}

// Counters start again at zero when a device is made anew under the same number.
block::Totals since(const block::Totals& start, const block::Totals& now) {
  auto less = [](std::uint64_t a, std::uint64_t b) { return b > a ? b - a : 0; };
  return {less(start.read_bytes, now.read_bytes), less(start.write_bytes, now.write_bytes),
          less(start.read_ops, now.read_ops), less(start.write_ops, now.write_ops)};
}

Work work(const block::Totals& totals, int direction) {
  return direction == 0 ? Work{totals.read_bytes, totals.read_ops}
                        : Work{totals.write_bytes, totals.write_ops};
}

std::string readable_bytes(std::uint64_t bytes) {
  return bytes < 1024 * 1024 ? fmt::format("{:.0f} KiB", static_cast<double>(bytes) / 1024)
                             : fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// What a limit lets through at least: an operation is a page or more.
std::uint64_t least_bytes(const WorkLimits& limits) {
  return limits.bytes ? *limits.bytes : limits.operations ? *limits.operations * 4096 : 0;
}

// Most of it went by, and more than a limit that held would have left unfelt.
bool went_by(const Share& share, std::uint64_t bytes_per_second, double seconds) {
  return share.unknown.empty() && share.passed > share.met &&
         static_cast<double>(share.passed) >
             0.5 * static_cast<double>(bytes_per_second) * std::max(seconds, 0.5);
}

}  // namespace

// "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6"
block::Totals parse_io_stat(std::string_view text, std::string_view device) {
  block::Totals out;
  each_line_of(text, device, [&](std::string_view line) {
    auto value = [&](std::string_view key) {
      auto at = (" " + std::string(line)).find(fmt::format(" {}=", key));
      return at == std::string::npos ? 0 : number(line.substr(at + key.size() + 1));
    };
    out = {value("rbytes"), value("wbytes"), value("rios"), value("wios")};
  });
  return out;
}

// "8:0 Read 1", "8:0 Write 2", …
block::Totals parse_blkio_counters(std::string_view bytes, std::string_view operations,
                                   std::string_view device) {
  return {counter(bytes, device, "Read "), counter(bytes, device, "Write "),
          counter(operations, device, "Read "), counter(operations, device, "Write ")};
}

void ThrottleWatch::add(const cgroup::Hierarchy& hierarchy, const DiskUser& user, ThrottleLimits reads,
                        ThrottleLimits writes, bool writes_back) {
  auto windows_of = [](const ThrottleLimits& limits) {
    return ThrottleWindows(limits.changed() ? limits.ours : limits.prescribed);
  };
  watched_.push_back({hierarchy,
                      user,
                      {reads, writes},
                      {windows_of(reads), windows_of(writes)},
                      writes_back,
                      {},
                      {},
                      {},
                      {},
                      0,
                      0});
}

void ThrottleWatch::count_all_of(const block::Device& device) {
  whole_.push_back({device, {}, {}});
}

void ThrottleWatch::start() {
  started_ = true;
  started_at_ = sampled_at_ = now_seconds();
  std::map<std::string, std::set<dev_t>> files;
  for (auto& one : watched_)
    if (one.limits[1].asked()) files[one.user.group.folder].merge(block::files_reaching(one.user.disk));
  written_.clear();
  for (auto& one : watched_) {
    one.cgroup_start = own_counters(one.hierarchy.version, one.user);
    one.disk_start = block::completed(one.user.disk).value_or(block::Totals{});
    one.root_start = written_by_root(one.hierarchy, one.user.disk);
    one.by_root = 0;
    for (int direction : {0, 1}) {
      one.windows[direction].restart();
      one.windows[direction].add(0, {});
    }
    if (auto found = files.find(one.user.group.folder); found != files.end())
      written_.try_emplace(found->first, one.user.group, one.hierarchy.version == cgroup::Version::v2,
                           found->second);
  }
  for (auto& [folder, written] : written_)
    written.start();
  for (auto& one : whole_)
    one.start = block::completed(one.device).value_or(block::Totals{});
}

void ThrottleWatch::sample() {
  auto now = now_seconds();
  if (!started_ || now - sampled_at_ < 0.02) return;
  sampled_at_ = now;
  // What processes asked for is looked at before what was done for them: the other way round it would seem to
  // go by.
  for (auto& [folder, written] : written_)
    written.sample();
  for (auto& one : watched_) {
    one.own = since(one.cgroup_start, own_counters(one.hierarchy.version, one.user));
    one.disk_done = since(one.disk_start, block::completed(one.user.disk).value_or(block::Totals{}));
    auto by_root = written_by_root(one.hierarchy, one.user.disk);
    one.by_root = by_root > one.root_start ? by_root - one.root_start : 0;
    for (int direction : {0, 1}) {
      auto mine = work(one.own, direction), all = work(one.disk_done, direction);
      one.windows[direction].add(
          now - started_at_, {std::min(mine.bytes, all.bytes), std::min(mine.operations, all.operations)});
    }
  }
  for (auto& one : whole_)
    one.done = since(one.start, block::completed(one.device).value_or(block::Totals{}));
}

void ThrottleWatch::finish() {
  for (auto& one : watched_)
    for (auto& windows : one.windows)
      windows.finish();
}

std::string ThrottleWatch::reason(const Watched& one, int direction) const {
  auto& windows = one.windows[direction];
  if (!one.limits[direction].changed())
    return fmt::format("{}: nothing was changed", one.limits[direction].lower);
  auto& limits = one.limits[direction].ours;
  const Rate asked{static_cast<std::int64_t>(limits.bytes.value_or(0))};
  auto done = windows.work();
  auto disk = work(one.disk_done, direction);
  auto& name = one.user.disk.name;
  if (windows.seconds() < 0.5)
    return fmt::format("the limit was watched for {:.1f} s only", windows.seconds());
  if (done.operations == 0 && disk.bytes > 0)
    return fmt::format(
        "no {} of the target reached {} within its cgroup, while {} were {} there for others ({})",
        nouns[direction], name, readable(static_cast<double>(disk.bytes) / windows.seconds(), asked),
        direction == 0 ? "read" : "written",
        direction == 0 ? "what the cache answers is not read from the disk"
                       : "a buffered write counts and is slowed only where its own cgroup writes it back");
  if (done.operations == 0)
    return fmt::format("no {} reached {}: the cache absorbed it, or the target was idle", nouns[direction],
                       name);
  auto is = windows.over().windows  ? windows.over()
            : windows.all().windows ? windows.all()
                                    : WindowSum{1, windows.seconds(), done};
  std::string text =
      fmt::format("the target {} {}", verbs[direction], readable(is.bytes_per_second(), asked));
  if (limits.operations) text += fmt::format(" in {:.1f} operations a second", is.operations_per_second());
  std::string limit;
  if (limits.bytes) limit = to_string(asked);
  if (limits.operations)
    limit += fmt::format("{}{} operations a second", limit.empty() ? "" : " and ", *limits.operations);
  if (windows.over().seconds > windows.at_limit().seconds)
    return fmt::format("{}, above the limit of {}: it did not hold", text, limit);
  if (windows.at_limit().windows)
    return fmt::format("the limit of {} was reached for {:.1f} s only", limit, windows.at_limit().seconds);
  return fmt::format("{}, below the limit of {}: nothing was slowed", text, limit);
}

// Of what the processes of a cgroup did, how much its limit was there for. Bytes that they wrote into the
// cache and that wait there for a limited write-back have gone by no limit.
Share ThrottleWatch::share(const Watched& one, int direction) const {
  Share out;
  out.of = fmt::format("bytes {} by the cgroup {} on {}", direction == 0 ? "read" : "written",
                       one.user.group.path, one.user.disk.name);
  out.met = one.windows[direction].work().bytes;
  auto written = written_.find(one.user.group.folder);
  if (direction == 0 || written == written_.end()) return out;
  if (!written->second.unknown().empty()) {
    out.unknown = written->second.unknown();
    return out;
  }
  std::uint64_t queued = 0;
  for (auto& other : watched_)
    if (other.user.group == one.user.group) queued += other.own.write_bytes;
  if (written->second.bytes() <= queued) return out;
  out.passed = written->second.bytes() - queued;
  // It waits for a write-back that is limited, but for what the kernel has written back without knowing for
  // whom.
  if (one.writes_back) out.passed = std::min(out.passed, one.by_root);
  if (!out.passed) return out;
  out.by.push_back(fmt::format("{} were written to the cache, and nobody's limit holds for their write-back",
                               readable_bytes(out.passed)));
  return out;
}

// What others did on a device that is meant as a whole, and the kernel's own threads.
void ThrottleWatch::add_share_of_all(const WholeDevice& whole, int direction, std::vector<Share>& shares,
                                     std::string& doubt) const {
  Share out;
  out.of = fmt::format("bytes {} on {} by anybody", direction == 0 ? "read" : "written", whole.device.name);
  double seconds = 0;
  std::uint64_t limit = 0;
  for (auto& one : watched_) {
    if (one.user.disk != block::whole_disk(whole.device) || !one.limits[direction].asked()) continue;
    out.met += one.windows[direction].work().bytes;
    seconds = std::max(seconds, one.windows[direction].seconds());
    limit = std::max(limit, least_bytes(one.limits[direction].prescribed));
  }
  auto all = work(whole.done, direction).bytes;
  out.passed = all > out.met ? all - out.met : 0;
  if (out.passed)
    out.by.push_back(fmt::format("{} by cgroups that are not limited, or by the kernel itself",
                                 readable_bytes(out.passed)));
  if (went_by(out, limit, seconds) && doubt.empty())
    doubt = fmt::format(
        "of what was {} on {}, {} met the limit and {} went by it: other cgroups or the kernel's write-back",
        direction == 0 ? "read" : "written", whole.device.name, readable_bytes(out.met),
        readable_bytes(out.passed));
  shares.push_back(std::move(out));
}

// Why a direction is not verified though a limit was reached in it; "" where nothing speaks against it.
std::string ThrottleWatch::doubt(int direction, std::vector<Share>& shares) const {
  std::string out;
  auto add = [&](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
  for (auto& one : watched_) {
    if (!one.limits[direction].asked()) continue;
    auto& windows = one.windows[direction];
    shares.push_back(share(one, direction));
    auto& share = shares.back();
    if (one.limits[direction].changed() && windows.over().windows &&
        windows.over().seconds > windows.at_limit().seconds)
      add(fmt::format("the cgroup {}: {}", one.user.group.path, reason(one, direction)));
    else if (went_by(share, least_bytes(one.limits[direction].prescribed), windows.seconds()))
      add(fmt::format("of what {} wrote, {} met the limit on {} and {} went by it: {}", one.user.group.path,
                      readable_bytes(share.met), one.user.disk.name, readable_bytes(share.passed),
                      share.by.front()));
  }
  std::string others;
  for (auto& one : whole_)
    add_share_of_all(one, direction, shares, others);
  return out.empty() ? others : out;
}

void ThrottleWatch::add_figures(Dose& dose, const Watched& one, int direction) const {
  auto& limits = one.limits[direction].prescribed;
  auto& windows = one.windows[direction];
  auto name = [&](const char* what) { return fmt::format("{}_{}", nouns[direction], what); };
  auto& spoken = windows.at_limit().windows ? windows.at_limit() : windows.all();
  if (limits.bytes) {
    dose.prescribed[name("bytes_per_s")] = *limits.bytes;
    dose.measured[name("bytes_per_s")] = spoken.bytes_per_second();
  }
  if (limits.operations) {
    dose.prescribed[name("iops")] = *limits.operations;
    dose.measured[name("iops")] = spoken.operations_per_second();
  }
  dose.measured[name("bytes")] = windows.work().bytes;
  dose.measured[name("share_of_time_at_limit")] =
      windows.all().seconds > 0 ? windows.at_limit().seconds / windows.all().seconds : 0;
  dose.samples += windows.all().windows;
}

Dose ThrottleWatch::dose() const {
  Dose dose;
  dose.verified = true;
  bool any = false;
  for (int direction : {0, 1}) {
    const Watched* busiest = nullptr;
    auto rank = [&](const Watched& one) {
      auto& windows = one.windows[direction];
      return std::tuple(one.limits[direction].changed() && windows.reached(), windows.at_limit().seconds,
                        windows.work().bytes);
    };
    for (auto& one : watched_)
      if (one.limits[direction].asked() && (!busiest || rank(one) > rank(*busiest))) busiest = &one;
    if (!busiest) continue;
    any = true;
    add_figures(dose, *busiest, direction);
    auto why = doubt(direction, dose.shares);
    if (!(busiest->limits[direction].changed() && busiest->windows[direction].reached()) && why.empty())
      why = reason(*busiest, direction);
    if (why.empty()) continue;
    dose.verified = false;
    dose.reason += (dose.reason.empty() ? "" : "; ") + why;
  }
  dose.verified = dose.verified && any;
  return dose;
}

}  // namespace squall::faults
