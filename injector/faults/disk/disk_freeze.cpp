// disk.freeze: the file system hangs for whoever writes, and the host goes on answering.
#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/processes/worker.hpp"
#include "injector/host/storage/block.hpp"
#include "injector/host/storage/volume.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

struct DiskFreeze {};
const Object<DiskFreeze> parameters{"hangs a file system"};

struct Frozen {
  Frozen(const DiskFreeze&, Target& target) : path(target.folder()), witness({"touch", path}) {
    if (const auto why = volume::needed_by(path); !why.empty())
      target.refuse("", fmt::format("the file system of {} is not {}: {}", path, "hung", why));
    const auto below = block::devices_below(path);
    if (!below) target.refuse("", below.error());
    for (auto& device : below->devices)
      target.reach().disks.push_back(block::whole_disk(device).id());
    target.claim({.resource = "the file system", .scope = volume::device_number(path)});
    target.caveat(
        "what is read goes on, and what is written stays in memory until somebody flushes it or needs a "
        "page");
  }

  void apply(Transaction& host) {
    start_worker(host, witness,
                 fmt::format("start a process that writes to a file without a name in {}", path));
    Change ready;
    ready.what = "wait until it has written";
    ready.undo_note = "nothing to undo";
    ready.act = [this] {
      for (const auto until = monotonic_ns() + 2'000'000'000; writes == 0; ::usleep(1000)) {
        writes = witness.heard().size();
        if (!witness.alive() || monotonic_ns() > until)
          throw std::runtime_error(
              "it cannot: the file system takes no file without a name (O_TMPFILE), or is full");
      }
    };
    host.add(std::move(ready));
    volume::freeze(host, path);
    Change after;
    after.what = "note when it hangs";
    after.undo_note = "nothing to undo";
    after.act = [this] { frozen_ns = monotonic_ns(); };
    host.add(std::move(after));
  }
  // Seen by a process that writes there four times in a tenth of a second: none of its writes comes back.
  void measure(Dose& dose) {
    for (auto at : witness.heard())
      if (at > frozen_ns) last_ns = at;
    const auto now = monotonic_ns();
    const auto hung_ms = static_cast<double>(now - std::max(frozen_ns, last_ns)) / 1e6;
    dose.prescribed = {{"writes_done", 0}};
    dose.measured = {{"writes_done", last_ns ? 1 : 0}, {"hung_ms", hung_ms}};
    dose.samples = static_cast<std::uint64_t>(hung_ms / 25);
    dose.verified = !last_ns && hung_ms > 100 && witness.alive();
    if (last_ns) dose.doubt("a write there was done meanwhile: somebody thawed it");
    if (!dose.verified) dose.doubt("it has only just begun");
  }

 private:
  std::string path;
  Worker witness;
  std::size_t writes = 0;
  std::int64_t frozen_ns = 0, last_ns = 0;
};

}  // namespace

extern const FaultType disk_freeze;
const FaultType disk_freeze = fault<DiskFreeze, Frozen>({
    .info = {.name = "disk.freeze",
             .sentence = "hangs a file system for whoever writes, while the host goes on answering",
             .aims = {"path"},
             .undo = "the file system is thawed, by the guardian where the injector is dead; writes that "
                     "waited go on",
             .examples = {"--on path=/srv/data --for 20s"},
             .mechanism = "FIFREEZE",
             .measures = "whether a process of its own gets a write done there"},
    .parameters = &parameters,
    .does = by_itself<DiskFreeze, Frozen>(),
});

}  // namespace squall::faults
