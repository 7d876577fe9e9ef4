#include "injector/faults/throttle_watch.hpp"

#include <charconv>

#include "injector/host/read_file.hpp"
#include "scenarios/readable.hpp"

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
    if (line.starts_with(device) && line.substr(device.size()).starts_with(' ')) each(line.substr(device.size() + 1));
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
  return parse_blkio_counters(file("blkio.throttle.io_service_bytes"), file("blkio.throttle.io_serviced"), user.disk.id());
}

// Counters start again at zero when a device is made anew under the same number.
block::Totals since(const block::Totals& start, const block::Totals& now) {
  auto less = [](std::uint64_t a, std::uint64_t b) { return b > a ? b - a : 0; };
  return {less(start.read_bytes, now.read_bytes), less(start.write_bytes, now.write_bytes),
          less(start.read_ops, now.read_ops), less(start.write_ops, now.write_ops)};
}

Work work(const block::Totals& totals, int direction) {
  return direction == 0 ? Work{totals.read_bytes, totals.read_ops} : Work{totals.write_bytes, totals.write_ops};
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
block::Totals parse_blkio_counters(std::string_view bytes, std::string_view operations, std::string_view device) {
  return {counter(bytes, device, "Read "), counter(bytes, device, "Write "), counter(operations, device, "Read "),
          counter(operations, device, "Write ")};
}

void ThrottleWatch::add(cgroup::Version version, const DiskUser& user, WorkLimits reads, WorkLimits writes) {
  watched_.push_back({version, user, {reads, writes}, {ThrottleWindows(reads), ThrottleWindows(writes)}, {}, {}, {}});
}

void ThrottleWatch::start() {
  started_ = true;
  started_at_ = sampled_at_ = now_seconds();
  for (auto& one : watched_) {
    one.cgroup_start = own_counters(one.version, one.user);
    one.disk_start = block::completed(one.user.disk).value_or(block::Totals{});
    for (int direction : {0, 1}) {
      one.windows[direction] = ThrottleWindows(one.limits[direction]);
      one.windows[direction].add(0, {});
    }
  }
}

void ThrottleWatch::sample() {
  auto now = now_seconds();
  if (!started_ || now - sampled_at_ < 0.02) return;
  sampled_at_ = now;
  for (auto& one : watched_) {
    auto own = since(one.cgroup_start, own_counters(one.version, one.user));
    one.disk_done = since(one.disk_start, block::completed(one.user.disk).value_or(block::Totals{}));
    for (int direction : {0, 1}) {
      auto mine = work(own, direction), all = work(one.disk_done, direction);
      one.windows[direction].add(now - started_at_,
                                 {std::min(mine.bytes, all.bytes), std::min(mine.operations, all.operations)});
    }
  }
}

void ThrottleWatch::finish() {
  for (auto& one : watched_)
    for (auto& windows : one.windows) windows.finish();
}

std::string ThrottleWatch::reason(const Watched& one, int direction) const {
  auto& windows = one.windows[direction];
  auto& limits = one.limits[direction];
  const Rate asked{static_cast<std::int64_t>(limits.bytes.value_or(0))};
  auto done = windows.work();
  auto disk = work(one.disk_done, direction);
  auto& name = one.user.disk.name;
  if (windows.seconds() < 0.5) return fmt::format("the limit was watched for {:.1f} s only", windows.seconds());
  if (done.operations == 0 && disk.bytes > 0)
    return fmt::format("no {} of the target reached {} within its cgroup, while {} were {} there for others ({})", nouns[direction], name,
                       readable(static_cast<double>(disk.bytes) / windows.seconds(), asked), direction == 0 ? "read" : "written",
                       direction == 0 ? "what the cache answers is not read from the disk"
                                      : "a buffered write counts and is slowed only where its own cgroup writes it back");
  if (done.operations == 0)
    return fmt::format("no {} reached {}: the cache absorbed it, or the target was idle", nouns[direction], name);
  auto is = windows.over().windows ? windows.over() : windows.all().windows ? windows.all() : WindowSum{1, windows.seconds(), done};
  std::string text = fmt::format("the target {} {}", verbs[direction], readable(is.bytes_per_second(), asked));
  if (limits.operations) text += fmt::format(" in {:.1f} operations a second", is.operations_per_second());
  std::string limit;
  if (limits.bytes) limit = to_string(asked);
  if (limits.operations) limit += fmt::format("{}{} operations a second", limit.empty() ? "" : " and ", *limits.operations);
  if (windows.over().seconds > windows.at_limit().seconds) return fmt::format("{}, above the limit of {}: it did not hold", text, limit);
  if (windows.at_limit().windows) return fmt::format("the limit of {} was reached for {:.1f} s only", limit, windows.at_limit().seconds);
  return fmt::format("{}, below the limit of {}: nothing was slowed", text, limit);
}

Dose ThrottleWatch::dose() const {
  Dose dose;
  for (int direction : {0, 1}) {
    const Watched* busiest = nullptr;
    auto rank = [&](const Watched& one) {
      auto& windows = one.windows[direction];
      return std::tuple(windows.reached(), windows.at_limit().seconds, windows.work().bytes);
    };
    for (auto& one : watched_)
      if (!busiest || rank(one) > rank(*busiest)) busiest = &one;
    if (!busiest) continue;
    auto& limits = busiest->limits[direction];
    auto& windows = busiest->windows[direction];
    if (!limits.bytes && !limits.operations) continue;

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
    if (windows.reached())
      dose.verified = true;
    else
      dose.reason += (dose.reason.empty() ? "" : "; ") + reason(*busiest, direction);
  }
  if (dose.verified) dose.reason.clear();
  return dose;
}

}  // namespace squall::faults
