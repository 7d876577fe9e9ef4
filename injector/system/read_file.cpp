#include "injector/system/read_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <system_error>

namespace squall {

std::optional<std::string> read_file(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string out;
  char part[4096];
  ssize_t got;
  while ((got = read(fd, part, sizeof part)) > 0)
    out.append(part, static_cast<std::size_t>(got));
  int error = errno;
  close(fd);
  errno = error;
  if (got < 0) return std::nullopt;
  return out;
}

void write_file(const std::string& path, std::string_view text, const std::string& what) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  auto written = write(fd, text.data(), text.size());
  int error = errno;
  close(fd);
  if (written < 0) throw std::system_error(error, std::generic_category(), what);
}

std::vector<std::filesystem::path> entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it{folder, error}, end; !error && it != end; it.increment(error))
    out.push_back(it->path());
  return out;
}

std::string_view trimmed(std::string_view text) {
  auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
  while (!text.empty() && blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && blank(text.back()))
    text.remove_suffix(1);
  return text;
}

}  // namespace squall
