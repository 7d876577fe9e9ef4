#include "injector/host/storage/volume.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "injector/system/process.hpp"
#include "injector/system/read_file.hpp"

namespace squall::volume {
namespace {

dev_t number_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? info.st_dev : 0;
}

}  // namespace

std::string needed_by(const std::string& path) {
  const auto meant = number_of(path);
  for (auto* ours : {"/", "/proc/self/exe", "/var/log", "/var/lib/squall", "/run", "/tmp"})
    if (number_of(ours) == meant) return fmt::format("{} lies on it", ours);
  for (auto& open : entries("/proc/self/fd"))
    if (number_of(open.string()) == meant) {
      std::error_code error;
      return fmt::format("{}, which the injector needs, lies on it",
                         std::filesystem::read_symlink(open, error).string());
    }
  for (auto& device : entries("/sys/block"))
    if (const auto image = read_file(device.string() + "/loop/backing_file"))
      if (const std::string file(trimmed(*image)); number_of(file) == meant)
        return fmt::format("{}, which is the loop device {}, lies on it", file, device.filename().string());
  return "";
}

std::string device_number(const std::string& path) {
  const auto number = number_of(path);
  return fmt::format("{}:{}", major(number), minor(number));
}

void freeze(Transaction& transaction, const std::string& path) {
  Change change;
  change.what = fmt::format("freeze the file system of {}", path);
  change.inverse = Inverse{"volume.thaw", {{"path", path}, {"device", number_of(path)}}};
  change.act = [path] {
    const Fd folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder || ::ioctl(folder.get(), FIFREEZE, 0) != 0)
      throw std::system_error(errno, std::generic_category());
  };
  transaction.add(std::move(change));
}

}  // namespace squall::volume

namespace squall::undo {
namespace {

std::string path_of(const boost::json::object& with) {
  return std::string(with.at("path").as_string());
}

std::string describe(const boost::json::object& with) {
  return fmt::format("thaw the file system of {}", path_of(with));
}

Undone carry_out(const boost::json::object& with) {
  const auto path = path_of(with);
  const Fd folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME)};
  struct stat info{};
  // Gone or unmounted: a file system that is frozen cannot be, so it is another one, or none.
  if (!folder || ::fstat(folder.get(), &info) != 0 || info.st_dev != with.at("device").to_number<dev_t>())
    return {UndoOutcome::already};
  if (::ioctl(folder.get(), FITHAW, 0) == 0) return {UndoOutcome::undone};
  if (errno == EINVAL) return {UndoOutcome::already};
  return {UndoOutcome::failed, fmt::format("{}: {}", describe(with), std::strerror(errno)),
          fmt::format("fsfreeze --unfreeze '{}'", path)};
}

}  // namespace

extern const UndoVerb volume_thaw;
const UndoVerb volume_thaw{"volume.thaw", describe, carry_out, {"mount"}};

}  // namespace squall::undo
