#include "injector/system/host_log.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>

#include "injector/system/host_text.hpp"
#include "injector/system/process.hpp"

namespace squall {
namespace {

constexpr std::size_t most_held = 1 << 20;  // bytes; what comes after is lost, and said to be

std::string_view text_of(const spdlog::memory_buf_t& buffer) {
  return {buffer.data(), buffer.size()};
}

// spdlog's own file sink buffers in stdio and waits where a FIFO has no reader.
class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(Fd file) : file_(std::move(file)) {}
  void hold(bool on) {
    const std::lock_guard lock{mutex_};
    holders_ += on ? 1 : -1;
    if (holders_ == 0) write_held();
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (holders_ == 0) return write(text_of(line));
    if (held_.size() + line.size() <= most_held)
      held_ += text_of(line);
    else
      ++lost_;
  }
  void flush_() override {}

  // In one write: others append to the same file. What does not fit on the disk is lost.
  void write(std::string_view text) {
    [[maybe_unused]] auto wrote = ::write(file_.get(), text.data(), text.size());
  }
  void write_held() {
    if (lost_ > 0) held_ += fmt::format("{} more lines were lost\n", std::exchange(lost_, 0));
    if (!held_.empty()) write(std::exchange(held_, {}));
  }

  Fd file_;
  std::string held_;
  int holders_ = 0, lost_ = 0;
};

int priority(spdlog::level::level_enum level) {
  return level >= spdlog::level::err    ? LOG_ERR
         : level == spdlog::level::warn ? LOG_WARNING
         : level == spdlog::level::info ? LOG_INFO
                                        : LOG_DEBUG;
}

// syslog(3), and spdlog's sink upon it, wait where journald does not read; and where it was restarted a
// connection is lost, so each line finds its own way.
class SyslogSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  SyslogSink(const std::string& path, std::string name)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), name_(std::move(name)) {
    path.copy(to_.sun_path, sizeof to_.sun_path - 1);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const auto line = fmt::format("<{}>{}[{}]: {}", LOG_DAEMON | priority(message.level), name_, ::getpid(),
                                  std::string_view{message.payload.data(), message.payload.size()});
    ::sendto(socket_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&to_), sizeof to_);
  }
  void flush_() override {}

  Fd socket_;
  std::string name_;
  sockaddr_un to_{.sun_family = AF_UNIX, .sun_path = {}};
};

struct Log {
  LogOptions options;
  std::shared_ptr<FileSink> file;
  std::shared_ptr<spdlog::logger> logger;
};

Log& the_log() {
  static Log log;
  return log;
}

// A link is not followed: who may only name the file must not choose through it what root appends to.
Fd open_file(const std::string& path, std::string& error) {
  Fd file{::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0640)};
  struct stat info{};
  if (!file)
    error = fmt::format("write the log \"{}\": {}", path, std::strerror(errno));
  else if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
    error = fmt::format("write the log \"{}\": it is no file", path);
  return error.empty() ? std::move(file) : Fd{};
}

spdlog::level::level_enum level_of(LogLevel level) {
  return level == LogLevel::debug     ? spdlog::level::debug
         : level == LogLevel::info    ? spdlog::level::info
         : level == LogLevel::warning ? spdlog::level::warn
                                      : spdlog::level::err;
}

}  // namespace

std::string open_log(const LogOptions& options) noexcept try {
  auto& log = the_log();
  log = {options, nullptr, nullptr};
  std::string error;
  std::vector<spdlog::sink_ptr> sinks;
  if (!options.socket.empty()) sinks.push_back(std::make_shared<SyslogSink>(options.socket, options.name));
  if (!options.file.empty()) {
    log.options.file = std::filesystem::absolute(options.file).string();
    if (auto file = open_file(log.options.file, error))
      sinks.push_back(log.file = std::make_shared<FileSink>(std::move(file)));
  }
  log.logger = std::make_shared<spdlog::logger>(options.name, sinks.begin(), sinks.end());
  log.logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %n[%P] %l: %v", spdlog::pattern_time_type::utc);
  log.logger->set_level(spdlog::level::from_str(options.level));
  log.logger->set_error_handler([](const std::string&) {});
  return error;
} catch (const std::exception&) {
  return "open the log: there is no room for it";
}

std::vector<std::string> log_arguments() {
  const auto& options = the_log().options;
  if (!the_log().logger) return {};
  std::vector<std::string> out{"--log-level", options.level};
  if (!options.file.empty()) out.insert(out.end(), {"--log-file", options.file});
  return out;
}

void log_line(LogLevel level, std::string_view text) noexcept try {
  const auto& logger = the_log().logger;
  if (logger && logger->should_log(level_of(level)))
    logger->log(level_of(level), printable(std::string(text)));
} catch (const std::exception&) {
}

HoldLogFile::HoldLogFile() {
  if (auto& file = the_log().file) file->hold(true);
}
HoldLogFile::~HoldLogFile() {
  if (auto& file = the_log().file) file->hold(false);
}

}  // namespace squall
