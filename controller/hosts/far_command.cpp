#include "controller/hosts/far_command.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace squall {
namespace {

namespace asio = boost::asio;

constexpr std::size_t most_words = 600;
constexpr std::size_t most_output = 16u << 20;
constexpr auto last_moment = std::chrono::milliseconds{500};  // between SIGTERM and SIGKILL

// A running command. With its last owner it ends: a loop that is given up takes its commands along.
struct Running : std::enable_shared_from_this<Running> {
  explicit Running(asio::io_context& io)
      : out(io), err(io), process(io), changed(io, asio::steady_timer::time_point::max()), limit(io) {}
  ~Running() {
    if (pid <= 0) return;
    ::kill(-pid, SIGTERM);
    ::waitpid(pid, nullptr, WNOHANG);
  }

  void start(const std::vector<std::string>& command) {
    Pipe output, errors;
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    try {
      pid = spawn(command, nothing, output.write, errors.write);
    } catch (...) {
      ::close(nothing);
      throw;
    }
    ::close(nothing);
    out.assign(output.take(output.read));
    err.assign(errors.take(errors.read));
    const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (pidfd < 0)
      throw std::runtime_error(fmt::format("watch \"{}\": {}", command.front(), std::strerror(errno)));
    process.assign(pidfd);
    read(out, out_buffer, result.out);
    read(err, err_buffer, result.err);
    process.async_wait(process.wait_read, [self = shared_from_this()](auto error) {
      if (error) return;
      self->ended = true;
      self->changed.cancel();
    });
  }

  void read(asio::posix::stream_descriptor& from, std::array<char, 65536>& buffer, std::string& into) {
    ++reading;
    from.async_read_some(asio::buffer(buffer),
                         [self = shared_from_this(), &from, &buffer, &into](auto error, std::size_t size) {
                           --self->reading;
                           if (error) return void(self->changed.cancel());
                           if (into.size() < most_output) into.append(buffer.data(), size);
                           self->read(from, buffer, into);
                         });
  }

  void stop_after(std::chrono::nanoseconds time, int signal) {
    limit.expires_after(time);
    limit.async_wait([self = shared_from_this(), signal](auto error) {
      if (error) return;
      ::kill(-self->pid, signal);
      if (signal == SIGTERM) return self->result.late = true, self->stop_after(last_moment, SIGKILL);
      self->given_up = true;  // whatever becomes of it
      self->changed.cancel();
    });
  }

  bool over() const { return given_up || (ended && (reading == 0 || result.late)); }

  void reap() {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      pid = -1;
    }
    boost::system::error_code ignored;
    for (auto* end : {&out, &err, &process})
      end->close(ignored);
    limit.cancel();
  }

  asio::posix::stream_descriptor out, err, process;  // `process` is a pidfd: readable once it ended
  asio::steady_timer changed, limit;
  std::array<char, 65536> out_buffer{}, err_buffer{};
  Finished result;
  pid_t pid = -1;
  int reading = 0;
  bool ended = false, given_up = false;
};

// Said by ssh(1) before it gets to the point, or beside it.
bool beside_the_point(std::string_view line) {
  return line.starts_with("Warning: Permanently added") || line.starts_with("** ") ||
         line.starts_with("Pseudo-terminal will not be allocated");
}

}  // namespace

asio::awaitable<Finished> run_beside(asio::io_context& io, std::vector<std::string> command,
                                     std::chrono::nanoseconds limit) {
  const auto running = std::make_shared<Running>(io);
  running->start(command);
  running->stop_after(limit, SIGTERM);
  while (!running->over()) {
    boost::system::error_code woken;
    co_await running->changed.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
  running->reap();
  co_return std::move(running->result);
}

std::string in_one_line(std::string_view words) {
  std::vector<std::string> lines;
  while (!words.empty()) {
    const auto end = std::min(words.find('\n'), words.size());
    auto line = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    while (!line.empty() && std::strchr(" \t\r", line.back()))
      line.remove_suffix(1);
    while (!line.empty() && std::strchr(" \t\r", line.front()))
      line.remove_prefix(1);
    if (line.empty() || beside_the_point(line) || std::find(lines.begin(), lines.end(), line) != lines.end())
      continue;
    lines.emplace_back(line);
  }
  std::string out;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!out.empty() && out.size() + line->size() > most_words) return "… " + out;
    out = out.empty() ? line->size() > most_words ? "… " + line->substr(line->size() - most_words) : *line
                      : *line + "; " + out;
  }
  return out;
}

}  // namespace squall
