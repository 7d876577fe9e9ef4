// disk.inodes: no new file can be made on a file system, though it has room.
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/statvfs.h>

#include "injector/faults/shape/value_fault.hpp"
#include "injector/host/storage/volume.hpp"
#include "injector/system/descriptor_limit.hpp"
#include "injector/system/process.hpp"

namespace squall::faults {
namespace {

constexpr std::int64_t most = 200'000;

struct TakeInodes {
  struct With {
    std::int64_t leave = 0;
  };
  static const Object<With>& parameters() {
    static const auto all = Object<With>{"leaves a file system no room for new files"}
                                .optional("leave", &With::leave, "how many files can still be made", "0")
                                .between(&With::leave, std::int64_t{0}, std::int64_t{1} << 40);
    return all;
  }

  TakeInodes(const With& with, Target& target) : with(with), path(target.path()) {
    if (!std::filesystem::is_directory(path)) throw Unfit(path + " is no folder");
    if (const auto why = volume::needed_by(path); !why.empty())
      throw Unfit(fmt::format("the file system of {} is not filled: {}", path, why));
    const auto more = free_inodes() - with.leave;
    if (more <= 0) throw Unfit(fmt::format("only {} files can be made there as it is", free_inodes()));
    if (more > most)
      throw Unfit(fmt::format("{} files can be made there, and an injector holds {} open at most",
                              free_inodes(), most));
  }
  std::string mechanism() const { return "files without a name (O_TMPFILE)"; }
  std::vector<std::string> targets() const { return {"the file system of " + path}; }
  std::vector<std::string> claims() const { return {"room on the file system of " + path}; }
  Reach reach() const { return {}; }

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
  With with;
  std::string path;
  std::vector<Fd> files;
};

}  // namespace

extern const FaultType disk_inodes;
const FaultType disk_inodes = fault<TakeInodes>({
    .name = "disk.inodes",
    .sentence = "no new file can be made on a file system, though it has room",
    .aims = {"path"},
    .undo = "the files that take the inodes have no names and are gone with their descriptors",
    .examples = {"--on path=/srv/data --for 30s"},
    .doctor =
        [] {
          return std::vector<Capability>{{.mechanism = "files without a name (O_TMPFILE)",
                                          .possible = true,
                                          .chosen = true,
                                          .note = "file systems with a fixed number of files, such as ext4",
                                          .measures = "how many files can still be made (statvfs(3))"}};
        },
});

}  // namespace squall::faults
