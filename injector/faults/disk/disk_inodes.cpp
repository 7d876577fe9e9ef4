// disk.inodes: no new file can be made on a file system, though it has room.
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/statvfs.h>

#include "injector/faults/shape/fault_value.hpp"
#include "injector/host/storage/block.hpp"
#include "injector/host/storage/volume.hpp"
#include "injector/system/descriptor_limit.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t most = 200'000;

struct DiskInodes {
  std::int64_t leave = 0;
};
const auto parameters = Object<DiskInodes>{"leaves a file system no room for new files"}
                            .optional("leave", &DiskInodes::leave, "how many files can still be made", "0")
                            .between(&DiskInodes::leave, std::int64_t{0}, std::int64_t{1} << 40);

struct TakenInodes {
  TakenInodes(const DiskInodes& with, Target& target) : with(with), path(target.folder()) {
    if (const auto why = volume::needed_by(path); !why.empty())
      target.refuse("", fmt::format("the file system of {} is not {}: {}", path, "filled", why));
    const auto more = free_inodes() - with.leave;
    if (more <= 0)
      target.refuse("leave", fmt::format("only {} files can be made there as it is", free_inodes()));
    if (more > most)
      target.refuse("leave", fmt::format("{} files can be made there, and an injector holds {} open at most",
                                         free_inodes(), most));
    if (const auto below = block::devices_below(path))
      for (auto& device : below->devices)
        target.reach().disks.push_back(block::whole_disk(device).id());
    target.claim({.resource = "the file system", .scope = volume::device_number(path)});
  }

  void apply(Transaction& host) {
    Change change;
    change.what = fmt::format("take inodes of the file system of {} until {} are left", path, with.leave);
    change.undo_note = "the files have no names: the kernel frees them with their descriptors";
    change.act = [this] { take(); };
    change.release = [this] {
      files.clear();
      return Undone{};
    };
    host.add(std::move(change));
  }
  // Whether somebody who is not root can make one is what the file system says it has for him.
  void measure(Dose& dose) {
    dose.expect("files_left", static_cast<double>(with.leave), static_cast<double>(free_inodes()));
    if (!dose.verified) dose.reason = "others make or delete files there: " + dose.reason;
  }

 private:
  std::int64_t free_inodes() const {
    struct statvfs info{};
    return ::statvfs(path.c_str(), &info) == 0 ? static_cast<std::int64_t>(info.f_favail) : 0;
  }
  void take() {
    const auto more = static_cast<std::size_t>(std::max<std::int64_t>(0, free_inodes() - with.leave));
    if (make_room_for_descriptors(more + 64) < more + 64)
      throw std::runtime_error(fmt::format("the injector may not have {} descriptors (ulimit -n)", more));
    while (free_inodes() > with.leave) {
      Fd file{::open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
      if (!file) throw std::runtime_error(std::strerror(errno));
      files.push_back(std::move(file));
    }
  }
  DiskInodes with;
  std::string path;
  std::vector<Fd> files;
};

}  // namespace

extern const FaultType disk_inodes;
const FaultType disk_inodes = fault<DiskInodes, TakenInodes>({
    .info = {.name = "disk.inodes",
             .sentence = "no new file can be made on a file system, though it has room",
             .aims = {"path"},
             .undo = "the files that take the inodes have no names and are gone with their descriptors",
             .examples = {"--on path=/srv/data --for 30s"},
             .mechanism = "files without a name (O_TMPFILE)",
             .measures = "how many files can still be made (statvfs(3))"},
    .parameters = &parameters,
    .does = by_itself<DiskInodes, TakenInodes>(),
});

}  // namespace squall::faults
