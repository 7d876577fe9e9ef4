// disk.fill: leaves only so much room on a file system.
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/statvfs.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/storage/block.hpp"
#include "injector/host/storage/volume.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

struct DiskFill {
  std::optional<Size> leave;
  std::optional<Percent> fill;
  std::optional<Duration> over;
};
const auto parameters =
    Object<DiskFill>{"leaves only so much room on a file system"}
        .optional("leave", &DiskFill::leave, "what others than root may still write")
        .between(&DiskFill::leave, Size{0}, Size{std::int64_t{1} << 50})
        .optional("fill", &DiskFill::fill, "or how full it is then")
        .between(&DiskFill::fill, Percent{1}, Percent{100})
        .optional("over", &DiskFill::over, "little by little, as logs do; at once where it is not given")
        .between(&DiskFill::over, Duration{100'000'000}, Duration{86'400'000'000'000})
        .rule([](const DiskFill& with, const Value& value, Diagnostics& diagnostics) {
          if (with.leave.has_value() == with.fill.has_value())
            diagnostics.error(value.place, "expected either leave or fill");
        });

struct FilledDisk {
  FilledDisk(const DiskFill& with, Target& target) : with(with), path(target.folder()) {
    if (const auto why = volume::needed_by(path); !why.empty())
      target.refuse("", fmt::format("the file system of {} is not {}: {}", path, "filled", why));
    const auto now = look();
    const auto all = now.used + now.available;
    leave = with.leave
                ? with.leave->bytes
                : std::max<std::int64_t>(
                      0, all - static_cast<std::int64_t>(with.fill->fraction() * static_cast<double>(all)));
    if (leave >= now.available)
      target.refuse(with.leave ? "leave" : "fill",
                    fmt::format("{} bytes are left there already, no more than {}", now.available, leave));
    if (const auto below = block::devices_below(path))
      for (auto& device : below->devices)
        target.reach().disks.push_back(block::whole_disk(device).id());
    target.claim({.resource = "the file system", .scope = volume::device_number(path)});
    target.caveat("what is reserved for root stays with root; quotas are not looked at");
  }

  void apply(Transaction& host) {
    Change change;
    change.what = fmt::format("fill the file system of {} until {} bytes are left", path, leave);
    change.undo_note =
        "the file has no name: the kernel frees it with the descriptor, also where the injector dies";
    change.act = [this] {
      file = Fd{::open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
      if (!file) throw std::runtime_error(std::strerror(errno));
      began_ns = monotonic_ns();
      first = look().available;
      if (!with.over) grow();
    };
    change.release = [this] {
      file.reset();
      return Undone{};
    };
    host.add(std::move(change));
  }
  void started(Life& life) {
    if (with.over) life.every(Duration{100'000'000}, [this] { grow(); });
  }
  void measure(Dose& dose) {
    const auto now = look();
    dose.prescribed = {{"bytes_left", due()}};
    dose.measured = {{"bytes_left", now.available}};
    dose.samples = 1;
    const auto off = std::abs(now.available - due());
    // A block, and what a file system needs to keep account of ours.
    dose.verified =
        file && off <= std::max<std::int64_t>(16 * now.block, with.over ? (first - leave) / 10 : 0);
    if (!dose.verified)
      dose.doubt(
          fmt::format("{} bytes are left, not {}: others write or delete there", now.available, due()));
  }

 private:
  struct Room {
    std::int64_t available = 0, used = 0, block = 4096;
  };
  Room look() const {
    struct statvfs info{};
    if (::statvfs(path.c_str(), &info) != 0) return {};
    const auto block = static_cast<std::int64_t>(info.f_frsize);
    return {static_cast<std::int64_t>(info.f_bavail) * block,
            static_cast<std::int64_t>(info.f_blocks - info.f_bfree) * block, block};
  }
  // What is to be left by now.
  std::int64_t due() const {
    if (!with.over) return leave;
    const auto part =
        std::min(1.0, static_cast<double>(monotonic_ns() - began_ns) / static_cast<double>(with.over->ns));
    return first - static_cast<std::int64_t>(part * static_cast<double>(first - leave));
  }
  // Several steps: a file system needs blocks of its own for the account of ours.
  void grow() {
    for (int attempt = 0; attempt < 8; ++attempt) {
      const auto now = look();
      const auto more = (now.available - due()) / now.block * now.block;
      if (more <= 0) return;
      auto part = more;
      while (::fallocate(file.get(), 0, size, part) != 0) {
        if (errno != ENOSPC || part <= now.block)
          throw std::runtime_error(fmt::format("take {} bytes: {}", part, std::strerror(errno)));
        part = part / 2 / now.block * now.block;
      }
      size += part;
    }
  }

  DiskFill with;
  std::string path;
  std::int64_t leave = 0, first = 0, size = 0, began_ns = 0;
  Fd file;
};

}  // namespace

extern const FaultType disk_fill;
const FaultType disk_fill = fault<DiskFill, FilledDisk>({
    .info = {.name = "disk.fill",
             .sentence = "leaves only so much room on a file system",
             .aims = {"path"},
             .undo = "the file that takes the room has no name and is gone with its descriptor",
             .examples = {"leave=1MiB --on path=/srv/data --for 30s",
                          "fill=95% over=1m --on path=/srv/data --for 5m"},
             .mechanism = "a file without a name (O_TMPFILE, fallocate)",
             .measures = "the room that is left for others than root (statvfs(3))"},
    .parameters = &parameters,
    .does = by_itself<DiskFill, FilledDisk>(),
    .started = [](FilledDisk& fault, Life& life) { fault.started(life); },
});

}  // namespace squall::faults
