#include "controller/hosts/link.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

extern char** environ;

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t longest_line = 16u << 20;

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(fmt::format("make a pipe: {}", std::strerror(errno)));
    read = ends[0];
    write = ends[1];
  }
  Pipe(const Pipe&) = delete;
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  int take(int& end) { return std::exchange(end, -1); }
};

// Starts a command with the given ends as its stdio (-1: ours). Its own process group, so that Ctrl-C on the terminal
// reaches squall alone, which then undoes in order.
pid_t spawn(const std::vector<std::string>& command, int in, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (in >= 0) posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  if (out >= 0) posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (err >= 0) posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) throw std::runtime_error(fmt::format("start \"{}\": {}", fmt::join(command, " "), std::strerror(error)));
  return pid;
}

std::string own_folder() {
  std::error_code error;
  auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "" : self.parent_path().string();
}

std::string local_injector() {
  if (const char* named = std::getenv("SQUALL_INJECTOR")) return named;
  auto beside = own_folder() + "/squall-injector";
  return ::access(beside.c_str(), X_OK) == 0 ? beside : "squall-injector";
}

}  // namespace

std::vector<std::string> injector_command(const HostSpec& host, const LinkOptions& options, const std::string& verb,
                                          const std::vector<std::string>& more) {
  std::vector<std::string> command;
  const bool root_needed = options.privileged;
  if (host.link == HostSpec::Link::ssh) {
    command = {"ssh", "-T", "-oBatchMode=yes", "-oServerAliveInterval=2", "-oServerAliveCountMax=3", "--", host.address};
    if (root_needed && !host.address.starts_with("root@")) command.insert(command.end(), {"sudo", "-n"});
    command.push_back("squall-injector");
  } else {
    if (root_needed && ::geteuid() != 0) command = {"sudo", "-n"};
    command.push_back(local_injector());
  }
  command.insert(command.end(), {verb, "--state", options.state});
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

struct Link::State : std::enable_shared_from_this<Link::State> {
  State(asio::io_context& context, std::string name, Sinks s)
      : io(context), host(std::move(name)), sinks(std::move(s)), in(context), out(context), renewal(context), buffer(longest_line) {}

  void read() {
    asio::async_read_until(out, buffer, '\n', [self = shared_from_this()](auto error, std::size_t size) {
      if (error) return self->lost();
      const auto* data = static_cast<const char*>(self->buffer.data().data());
      std::string line(data, size);
      self->buffer.consume(size);
      self->take(line);
      if (!self->ended) self->read();
    });
  }

  void take(const std::string& line) {
    json::error_code error;
    auto value = json::parse(line, error);
    if (error || !value.is_object()) return;  // what a login shell prints before the injector speaks
    auto& object = value.get_object();
    if (object.contains("event")) {
      if (sinks.event) sinks.event(object);
      return;
    }
    auto* id = object.if_contains("id");
    if (!id || !id->is_int64()) return;
    auto found = waiting.find(id->get_int64());
    if (found == waiting.end()) return;
    auto handler = std::move(found->second);
    waiting.erase(found);
    auto* ok = object.if_contains("ok");
    if (ok && ok->is_bool() && ok->get_bool()) return handler(std::move(object));
    auto text = [&](const char* key, const char* otherwise) {
      auto* member = object.if_contains(key);
      return member && member->is_string() ? std::string(member->get_string()) : std::string(otherwise);
    };
    handler(tl::unexpected(Refusal{text("kind", "failed"), text("error", "refused without a reason")}));
  }

  void lost() {
    if (ended) return;
    ended = true;
    const auto why = reap();
    boost::system::error_code ignored;
    renewal.cancel();
    in.close(ignored);
    out.close(ignored);
    for (auto& [id, handler] : std::exchange(waiting, {})) handler(tl::unexpected(Refusal{"lost", why}));
    if (!closing && sinks.closed) sinks.closed(why);
  }

  std::string reap() {
    int status = 0;
    // The child closed its output: it is ending. It gets a moment to be reaped, never longer.
    for (int i = 0; i < 200 && pid > 0; ++i) {
      if (::waitpid(pid, &status, WNOHANG) == pid) {
        pid = -1;
        break;
      }
      ::usleep(5000);
    }
    if (pid > 0) return fmt::format("the injector on {} closed the link", host);
    if (WIFSIGNALED(status)) return fmt::format("the injector on {} was ended by signal {}", host, WTERMSIG(status));
    auto said = last_words();
    return fmt::format("the injector on {} ended with exit code {}{}", host, WEXITSTATUS(status),
                       said.empty() ? "" : ": " + said);
  }

  std::string last_words() {
    if (err < 0) return "";
    std::string text(4096, '\0');
    pollfd ready{err, POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return "";
    auto got = ::read(err, text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    if (auto line = text.rfind('\n'); line != std::string::npos) text = text.substr(line + 1);
    return text;
  }

  void write() {
    if (writing || outbox.empty() || ended) return;
    writing = true;
    asio::async_write(in, asio::buffer(outbox.front()), [self = shared_from_this()](auto error, std::size_t) {
      self->writing = false;
      if (error) return;  // the reading side notices the end and tells everybody
      self->outbox.pop_front();
      if (self->outbox.empty() && self->closing) {
        boost::system::error_code ignored;
        self->in.close(ignored);
      }
      self->write();
    });
  }

  ~State() {
    if (err >= 0) ::close(err);
  }

  asio::io_context& io;
  std::string host;
  Sinks sinks;
  asio::posix::stream_descriptor in, out;
  asio::steady_timer renewal;
  asio::streambuf buffer;
  std::deque<std::string> outbox;
  std::map<std::int64_t, std::function<void(Reply)>> waiting;
  std::int64_t next_id = 1;
  pid_t pid = -1;
  int err = -1;
  bool writing = false, closing = false, ended = false;
};

Link::Link(asio::io_context& io, std::string host, const std::vector<std::string>& command, Sinks sinks)
    : state_(std::make_shared<State>(io, std::move(host), std::move(sinks))) {
  Pipe to, from, errors;
  state_->pid = spawn(command, to.read, from.write, errors.write);
  state_->in.assign(to.take(to.write));
  state_->out.assign(from.take(from.read));
  state_->err = errors.take(errors.read);
  state_->read();
}

Link::~Link() { close(); }

void Link::request(json::object message, std::function<void(Reply)> handler) {
  auto& state = *state_;
  if (state.ended || state.closing) {
    asio::post(state.io, [handler = std::move(handler), host = state.host] {
      handler(tl::unexpected(Refusal{"lost", fmt::format("the link to {} is closed", host)}));
    });
    return;
  }
  const auto id = state.next_id++;
  message["id"] = id;
  state.waiting.emplace(id, std::move(handler));
  state.outbox.push_back(json::serialize(message) + "\n");
  state.write();
}

asio::awaitable<Reply> Link::ask(json::object message) {
  return asio::async_initiate<const asio::use_awaitable_t<>, void(Reply)>(
      [this](auto handler, json::object what) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        request(std::move(what), [shared](Reply reply) { (*shared)(std::move(reply)); });
      },
      asio::use_awaitable, std::move(message));
}

void Link::keep_alive(std::chrono::nanoseconds every) {
  state_->renewal.expires_after(every);
  state_->renewal.async_wait([this, every, state = state_](auto error) {
    if (error || state->closing || state->ended) return;
    request({{"do", "renew"}}, [](Reply) {});
    keep_alive(every);
  });
}

void Link::close() {
  auto& state = *state_;
  if (state.closing) return;
  state.closing = true;
  state.renewal.cancel();
  if (!state.writing && state.in.is_open()) {
    boost::system::error_code ignored;
    state.in.close(ignored);
  }
}

bool Link::open() const { return !state_->ended && !state_->closing; }
const std::string& Link::host() const { return state_->host; }

Finished run_to_end(const std::vector<std::string>& command) {
  Pipe out, err;
  const auto pid = spawn(command, -1, out.write, err.write);
  ::close(out.take(out.write));
  ::close(err.take(err.write));
  Finished result;
  std::array<pollfd, 2> ends{pollfd{out.read, POLLIN, 0}, pollfd{err.read, POLLIN, 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (::poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) break;
    for (auto& end : ends) {
      if (end.fd < 0 || !end.revents) continue;
      char text[65536];
      const auto got = ::read(end.fd, text, sizeof text);
      if (got > 0)
        (&end == &ends[0] ? result.out : result.err).append(text, static_cast<std::size_t>(got));
      else
        end.fd = -1;
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace squall
