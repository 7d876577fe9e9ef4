#include "controller/hosts/link.hpp"

#include <cstring>
#include <deque>

#include <sys/syscall.h>
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


#include "controller/hosts/child.hpp"
#include "injector/protocol.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t longest_line = 16u << 20;

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

HostRecovered recover_lost_host(const HostSpec& host, const LinkOptions& options, const std::string& session) {
  const auto done = run_to_end(injector_command(host, options, "recover", {"--output", "json"}));
  HostRecovered out;
  out.clean = done.exit_code == 0;
  boost::system::error_code broken;
  const auto said = json::parse(done.out, broken);
  const auto* about = broken ? nullptr : said.if_object();
  auto list = [&](const char* key) {
    const auto* value = about ? about->if_contains(key) : nullptr;
    return value && value->is_array() ? value->get_array() : json::array{};
  };
  const auto is_in = [&](const json::array& sessions) { return std::find(sessions.begin(), sessions.end(), json::value(session)) != sessions.end(); };
  out.by = is_in(list("carried_out")) ? "squall-injector recover, which squall started" : is_in(list("ended")) ? "its guardian" : "the injector itself, before its end";
  auto left = list("left");
  if (!out.clean && left.empty()) left = {json::object{{"detail", done.out + done.err}}};
  out.left = std::move(left);
  for (auto& cost : list("costs"))
    if (auto* one = cost.if_object(); one && one->contains("step") && one->contains("text"))
      out.costs += fmt::format("; {}: {}", json::value_to<std::string>(one->at("step")), json::value_to<std::string>(one->at("text")));
  return out;
}

HostRescued rescue_host(const HostSpec& host, const LinkOptions& options, const std::string& session) {
  const auto done = run_to_end(injector_command(host, options, "rescue", {"--session", session, "--output", "json"}));
  boost::system::error_code broken;
  const auto said = json::parse(done.out, broken);
  const auto* about = broken ? nullptr : said.if_object();
  if (!about) return {.text = fmt::format("nobody could look after it: {}{}", done.out, done.err)};
  if (about->contains("suspended")) return {.reached = true};
  return {true, true, done.exit_code == 0, done.exit_code == 0 ? "it was undone by another way" : fmt::format("not all of it could be undone: {}", json::serialize(about->contains("left") ? about->at("left") : json::value{}))};
}

struct Link::State : std::enable_shared_from_this<Link::State> {
  State(asio::io_context& context, std::string name, Sinks s)
      : io(context), host(std::move(name)), sinks(std::move(s)), in(context), out(context), err(context), process(context), renewal(context), deadline(context), buffer(longest_line) {}

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
    heard_since_renewal = true;
    json::error_code error;
    auto value = json::parse(line, error);
    if (error || !value.is_object()) return;  // what a login shell prints before the injector speaks
    auto& object = value.get_object();
    if (auto* event = object.if_contains("event")) {
      if (*event == "leaving" && object.contains("why") && object["why"].is_string()) left_because = object["why"].get_string();
      if (sinks.event) sinks.event(object);
      return;
    }
    auto* id = object.if_contains("id");
    if (!id || !id->is_int64()) return;
    spoke = true;
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

  // What the injector says beside the protocol: the end of it is told when it ends.
  void listen_to_errors() {
    err.async_read_some(asio::buffer(heard), [self = shared_from_this()](auto error, std::size_t size) {
      if (error) return;
      self->said.append(self->heard.data(), size);
      if (self->said.size() > 2 * self->heard.size()) self->said.erase(0, self->said.size() - self->heard.size());
      self->listen_to_errors();
    });
  }

  void lost() {
    if (ended) return;
    ended = true;
    renewal.cancel();
    // The child closed its output: it is ending. It gets a second, never longer.
    deadline.expires_after(std::chrono::seconds(1));
    deadline.async_wait([self = shared_from_this()](auto error) {
      if (!error) self->tell_end();
    });
    process.async_wait(process.wait_read, [self = shared_from_this()](auto error) {
      if (!error && self->deadline.cancel() > 0) self->tell_end();
    });
  }

  void tell_end() {
    const auto why = reap();
    boost::system::error_code ignored;
    for (auto* end : {&in, &out, &err, &process}) end->close(ignored);
    for (auto& [id, handler] : std::exchange(waiting, {})) handler(tl::unexpected(Refusal{"lost", why}));
    if (!closing && sinks.closed) sinks.closed(why);
  }

  std::string reap() {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid) return fmt::format("the injector on {} closed the link", host);
    if (WIFSIGNALED(status)) return fmt::format("the injector on {} was ended by signal {}", host, WTERMSIG(status));
    if (!left_because.empty())
      return fmt::format("the injector on {} ended because of {}, {}", host, left_because, WEXITSTATUS(status) == 0 ? "everything undone" : "not everything undone");
    const auto words = last_words();
    // ssh(1), EXIT STATUS. The host is on its own then, and its injector acts when the lease is over.
    if (spoke && WEXITSTATUS(status) == 255)
      return fmt::format("the link to {} was lost{}; what is in force there is undone when its lease runs out, within {} s", host, words.empty() ? "" : ": " + words,
                         default_lease_ns / 1'000'000'000);
    return fmt::format("the injector on {} ended with exit code {}{}", host, WEXITSTATUS(status),
                       words.empty() ? "" : ": " + words);
  }

  std::string last_words() {
    boost::system::error_code error;
    err.non_blocking(true, error);
    while (const auto size = err.read_some(asio::buffer(heard), error)) said.append(heard.data(), size);
    while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
    const auto line = said.rfind('\n');
    return line == std::string::npos ? said : said.substr(line + 1);
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

  asio::io_context& io;
  std::string host;
  Sinks sinks;
  asio::posix::stream_descriptor in, out, err, process;  // `process` is a pidfd: readable once it ended
  asio::steady_timer renewal, deadline;
  asio::streambuf buffer;
  std::deque<std::string> outbox;
  std::map<std::int64_t, std::function<void(Reply)>> waiting;
  std::int64_t next_id = 1;
  pid_t pid = -1;
  std::array<char, 4096> heard{};
  std::string said, left_because;
  bool writing = false, closing = false, ended = false;
  bool spoke = false;  // it answered once
  bool heard_since_renewal = true;
  int unheard_renewals = 0;
};

Link::Link(asio::io_context& io, std::string host, const std::vector<std::string>& command, Sinks sinks)
    : state_(std::make_shared<State>(io, std::move(host), std::move(sinks))) {
  Pipe to, from, errors;
  try {
    state_->pid = spawn(command, to.read, from.write, errors.write);
  } catch (const std::exception& e) {
    if (command.front() != "sudo") throw;
    throw std::runtime_error(fmt::format("{}; the injector needs root: run squall as root, or let sudo start it without a password", e.what()));
  }
  state_->in.assign(to.take(to.write));
  state_->out.assign(from.take(from.read));
  state_->err.assign(errors.take(errors.read));
  const auto process = static_cast<int>(::syscall(SYS_pidfd_open, state_->pid, 0));  // glibc 2.36 declares it, 2.31 does not
  if (process < 0) throw std::runtime_error(fmt::format("watch the injector: {}", std::strerror(errno)));
  state_->process.assign(process);
  state_->read();
  state_->listen_to_errors();
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
    // Counted in our own renewals, not in time: while we stood still ourselves, nothing was read either.
    state->unheard_renewals = std::exchange(state->heard_since_renewal, false) ? 0 : state->unheard_renewals + 1;
    if (state->unheard_renewals > 0 && state->unheard_renewals % 2 == 0 && state->sinks.silent) state->sinks.silent(state->unheard_renewals * every);
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

}  // namespace squall
