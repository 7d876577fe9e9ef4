#include "controller/record/run_log.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "scenarios/model/secrets.hpp"
#include "scenarios/text/utf8.hpp"

namespace squall {
namespace {

// Ahead of the last line: enough for the end of any drill and its five reports.
constexpr std::int64_t reserve_bytes = 8 << 20;

std::string compact_utc(std::int64_t wall_ns) {
  const time_t seconds = wall_ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

// What others say (labels of alerts, a command's output, an error of a server) may hold what a terminal would
// obey, bytes that are no UTF-8, and passwords: none of it gets any further than here.
boost::json::value harmless(boost::json::value value) {
  if (auto* text = value.if_string()) {
    *text = redacted(printable_text(*text));
  } else if (auto* list = value.if_array()) {
    for (auto& item : *list)
      item = harmless(std::move(item));
  } else if (auto* object = value.if_object()) {
    boost::json::object out;
    for (auto& [key, member] : *object)
      out.insert_or_assign(printable_text(key), harmless(std::move(member)));
    value = std::move(out);
  }
  return value;
}

}  // namespace

std::int64_t wall_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::int64_t boot_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

RunLog::RunLog(const std::string& runs, const std::string& scenario)
    : start_(std::chrono::steady_clock::now()), boot_start_ns_(boot_clock_ns()) {
  std::error_code error;
  std::filesystem::create_directories(runs, error);
  if (error) throw std::runtime_error(fmt::format("make the folder \"{}\": {}", runs, error.message()));
  const auto stem = fmt::format("{}/{}-{}", runs, compact_utc(wall_clock_ns()), scenario);
  folder_ = stem;
  // Two runs of one scenario within a second get folders of their own.
  for (int again = 2; !std::filesystem::create_directory(folder_, error); ++again) {
    if (error) throw std::runtime_error(fmt::format("make the folder \"{}\": {}", folder_, error.message()));
    folder_ = fmt::format("{}-{}", stem, again);
  }
  const auto path = folder_ + "/events.jsonl";
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (fd_ < 0) throw std::runtime_error(fmt::format("create \"{}\": {}", path, std::strerror(errno)));
  reserve();
  if (!trouble_.empty()) {
    ::close(std::exchange(fd_, -1));
    std::filesystem::remove_all(folder_, error);
    throw std::runtime_error(trouble_);
  }
}

RunLog::~RunLog() {
  finish();
}

std::int64_t RunLog::now() const {
  return boot_clock_ns() - boot_start_ns_;
}

std::string RunLog::name() const {
  return std::filesystem::path(folder_).filename().string();
}

void RunLog::reserve() {
  if (written_ + reserve_bytes / 2 < reserved_) return;
  const auto wanted = written_ + reserve_bytes;
  if (::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, wanted) != 0) {
    if (errno == EOPNOTSUPP) {  // a file system without reservations: a full disk shows at the write
      reserved_ = INT64_MAX;
      return;
    }
    trouble_ = fmt::format("reserve room for the record in \"{}\": {}", folder_, std::strerror(errno));
    return;
  }
  reserved_ = wanted;
}

void RunLog::write(const std::string& line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const auto wrote = ::write(fd_, line.data() + done, line.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      if (trouble_.empty())
        trouble_ = fmt::format("write the record in \"{}\": {}", folder_, std::strerror(errno));
      return;
    }
    done += static_cast<std::size_t>(wrote);
  }
  written_ += static_cast<std::int64_t>(line.size());
  if (trouble_.empty()) reserve();
}

void RunLog::add(std::string_view kind, boost::json::object event) {
  if (look_) look_();
  const auto t = now(), at = wall_clock_ns();
  note_step(t, at);
  boost::json::object line{{"t", t}, {"at", at}, {"kind", kind}};
  for (auto& [key, value] : event)
    line.emplace(key, harmless(std::move(value)));
  append(std::move(line));
}

// Our own CLOCK_REALTIME against CLOCK_MONOTONIC: what slewing (500 ppm at most) does not explain is a step.
// CLOCK_MONOTONIC stands still while the machine sleeps, which is told as a step forward.
void RunLog::note_step(std::int64_t t, std::int64_t at) {
  constexpr std::int64_t tolerated_ns = 20'000'000;
  const auto apart = at - t, by = apart - apart_;
  if (apart_ && std::abs(by) > tolerated_ns + (t - last_t_) / 2000)
    append({{"t", t}, {"at", at}, {"kind", "clock.step"}, {"by_ns", by}});
  apart_ = apart, last_t_ = t;
}

void RunLog::append(boost::json::object line) {
  auto text = boost::json::serialize(line) + "\n";
  if (fd_ >= 0) write(text);
  text_ += text;
  for (auto& observer : observers_)
    observer(line);
}

void RunLog::finish() {
  if (fd_ < 0) return;
  if (::ftruncate(fd_, written_) != 0) {
    // The reserve stays allocated; nothing is lost by that.
  }
  ::fdatasync(fd_);
  ::close(std::exchange(fd_, -1));
}

}  // namespace squall
