#include "controller/hosts/link.hpp"

#include <csignal>
#include <cstring>
#include <deque>
#include <optional>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "controller/hosts/child.hpp"
#include "controller/hosts/far_command.hpp"
#include "injector/session/protocol.hpp"
#include "injector/system/host_log.hpp"
#include "scenarios/text/utf8.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_line = longest_answer;
constexpr std::size_t most_printed = 4096;  // of what a login shell says

struct Destination {
  std::string host, port;  // user@host as ssh(1) takes it everywhere
};

// ssh://user@[fd88::1]:22 is not understood by every ssh, user@fd88::1 and a port are.
Destination ssh_destination(std::string_view address) {
  const bool url = address.starts_with("ssh://");
  if (url) address.remove_prefix(6);
  while (url && address.ends_with('/'))
    address.remove_suffix(1);
  const auto at = address.rfind('@');
  const auto user = at == address.npos ? std::string_view{} : address.substr(0, at + 1);
  auto host = address.substr(user.size());
  std::string_view port;
  const auto bracket = host.starts_with('[') ? host.find(']') : host.npos;
  if (bracket != host.npos) {
    if (host.substr(bracket + 1).starts_with(':')) port = host.substr(bracket + 2);
    host = host.substr(1, bracket - 1);
  } else if (const auto colon = host.find(':'); url && colon != host.npos) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  return {std::string(user) + std::string(host), std::string(port)};
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

std::vector<std::string> injector_command(const HostSpec& host, const LinkOptions& options,
                                          const std::string& verb, const std::vector<std::string>& more) {
  std::vector<std::string> command;
  const bool root_needed = options.privileged;
  if (host.link == HostSpec::Link::ssh) {
    command = {"ssh",
               "-T",
               "-oBatchMode=yes",
               "-oConnectTimeout=5",
               "-oServerAliveInterval=2",
               "-oServerAliveCountMax=3"};
    const auto to = ssh_destination(host.address);
    if (!to.port.empty()) command.insert(command.end(), {"-p", to.port});
    command.insert(command.end(), {"--", to.host});
    if (root_needed && !to.host.starts_with("root@")) command.insert(command.end(), {"sudo", "-n"});
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
  State(asio::io_context& context, std::string name, Sinks s, Patience p)
      : io(context),
        host(std::move(name)),
        sinks(std::move(s)),
        patience(p),
        in(context),
        out(context),
        err(context),
        process(context),
        renewal(context),
        deadline(context),
        overdue(context),
        buffer(longest_line) {}

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
    last_heard = Clock::now();
    auto message = understood(line);
    if (!message) return spoke ? unreadable(line) : keep(line);
    auto& object = *message;
    if (auto* event = object.if_contains("event")) {
      if (*event == "leaving" && object.contains("why") && object["why"].is_string())
        left_because = object["why"].get_string();
      if (sinks.event) sinks.event(object);
      return;
    }
    auto* id = object.if_contains("id");
    if (id && id->is_null() && object.contains("ok"))
      return refuse_all({text(object, "kind", "failed"), text(object, "error", "refused without a reason")});
    if (!id || !id->is_int64()) return spoke ? unreadable(line) : keep(line);
    spoke = true;
    auto found = waiting.find(id->get_int64());
    if (found == waiting.end()) return;
    auto handler = std::move(found->second.handler);
    waiting.erase(found);
    auto* ok = object.if_contains("ok");
    if (ok && ok->is_bool() && ok->get_bool()) return handler(std::move(object));
    log(LogLevel::warning, "refused: " + text(object, "error", "without a reason"));
    handler(tl::unexpected(
        Refusal{text(object, "kind", "failed"), text(object, "error", "refused without a reason")}));
  }

  static std::string text(const json::object& object, const char* key, const char* otherwise) {
    auto* member = object.if_contains(key);
    return member && member->is_string() ? std::string(member->get_string()) : std::string(otherwise);
  }

  // What a login shell prints stands before the injector's first line, or in it, where the shell ends no
  // line.
  std::optional<json::object> understood(const std::string& line) {
    const auto readable = printable(line);
    for (std::size_t at = readable.find('{'); at != readable.npos;
         at = spoke ? readable.npos : readable.find('{', at + 1)) {
      json::error_code error;
      auto value = json::parse(std::string_view(readable).substr(spoke ? 0 : at), error);
      if (error || !value.is_object()) continue;
      if (!spoke) keep(readable.substr(0, at));
      return std::move(value.get_object());
    }
    return std::nullopt;
  }

  // Bytes that are no UTF-8 would make the whole message unreadable.
  static std::string printable(const std::string& line) {
    std::string out;
    for (std::string_view rest = line; !rest.empty();) {
      const auto size = sequence_length(rest);
      if (size)
        out += rest.substr(0, size);
      else
        out += fmt::format("\\\\x{:02x}", static_cast<unsigned char>(rest.front()));
      rest.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
  }

  void keep(std::string_view what) {
    preamble += what;
    if (preamble.size() > most_printed) preamble.erase(0, preamble.size() - most_printed);
  }

  // Whoever waits is told: it may have been the answer.
  void unreadable(const std::string& line) {
    refuse_all({"failed", fmt::format("the injector on {} said something that cannot be read: {}", host,
                                      in_one_line(line.substr(0, 200)))});
  }

  void refuse_all(const Refusal& refusal) {
    for (auto& [id, request] : std::exchange(waiting, {}))
      request.handler(tl::unexpected(refusal));
  }

  // Looks after those who wait, for as long as somebody does.
  void watch() {
    if (watching || ended || waiting.empty()) return;
    watching = true;
    overdue.expires_after(std::min<std::chrono::nanoseconds>({patience.sign_of_life, patience.first_word,
                                                              patience.answer, std::chrono::seconds{1}}) /
                          4);
    overdue.async_wait([self = shared_from_this()](auto error) {
      self->watching = false;
      if (error || self->ended) return;
      if (const auto why = self->too_long(); !why.empty()) return self->give_up(why, SIGKILL);
      self->watch();
    });
  }

  std::string too_long() {
    // What it said while this process itself was stopped has not been read yet.
    pollfd unread{out.native_handle(), POLLIN, 0};
    const auto now = Clock::now();
    const bool stood_still = now - std::exchange(last_look, now) > std::chrono::seconds{2};
    if (waiting.empty() || stood_still || ::poll(&unread, 1, 0) != 0) return "";
    const auto seconds = [](auto time) { return std::chrono::duration<double>(time).count(); };
    if (!spoke && now - waiting.begin()->second.since > patience.first_word)
      return fmt::format("the injector on {} did not speak within {} s{}", host, seconds(patience.first_word),
                         words());
    bool asked = false;
    for (auto& [id, request] : waiting) {
      if (request.verb == "renew") continue;
      asked = true;
      if (now - request.since > patience.answer)
        return fmt::format("the injector on {} did not answer \"{}\" within {} s", host, request.verb,
                           seconds(patience.answer));
    }
    if (spoke && !asked && now - std::max(waiting.begin()->second.since, last_heard) > patience.sign_of_life)
      return fmt::format("the link to {} was lost: no sign of life from its injector for {} s", host,
                         seconds(patience.sign_of_life));
    return "";
  }

  void log(LogLevel level, const std::string& what) const {
    log_line(level, fmt::format("{}: {}", host, what));
  }

  // What carries the link is ended: an injector that hangs is killed, so that its guardian undoes.
  void give_up(const std::string& why, int signal) {
    if (ended) return;
    ended = true;
    for (auto* timer : {&renewal, &overdue, &deadline})
      timer->cancel();
    ::kill(pid, signal);
    finish(why);
  }

  // What the injector says beside the protocol: the end of it is told when it ends.
  void listen_to_errors() {
    err.async_read_some(asio::buffer(heard), [self = shared_from_this()](auto error, std::size_t size) {
      if (error) return;
      self->said.append(self->heard.data(), size);
      if (self->said.size() > 2 * self->heard.size())
        self->said.erase(0, self->said.size() - self->heard.size());
      self->listen_to_errors();
    });
  }

  void lost() {
    if (ended) return;
    ended = true;
    renewal.cancel();
    overdue.cancel();
    keep({static_cast<const char*>(buffer.data().data()), buffer.size()});  // a last line without an end
    // The child closed its output: it is ending. It gets a second, never longer.
    deadline.expires_after(std::chrono::seconds(1));
    deadline.async_wait([self = shared_from_this()](auto error) {
      if (!error) self->tell_end();
    });
    process.async_wait(process.wait_read, [self = shared_from_this()](auto error) {
      if (!error && self->deadline.cancel() > 0) self->tell_end();
    });
  }

  void tell_end() { finish(reap()); }

  void finish(const std::string& why) {
    ended_because = why;
    ::waitpid(pid, nullptr, WNOHANG);
    boost::system::error_code ignored;
    for (auto* end : {&in, &out, &err, &process})
      end->close(ignored);
    refuse_all({"lost", why});
    log(closing ? LogLevel::debug : LogLevel::warning, why);
    if (!closing && sinks.closed) sinks.closed(why);
  }

  std::string reap() {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid)
      return fmt::format("the injector on {} closed the link", host);
    if (WIFSIGNALED(status))
      return fmt::format("the injector on {} was ended by signal {}", host, WTERMSIG(status));
    if (!left_because.empty())
      return fmt::format("the injector on {} ended because of {}, {}", host, left_because,
                         WEXITSTATUS(status) == 0 ? "everything undone" : "not everything undone");
    const auto words = last_words();
    const auto told = words.empty() ? "" : ": " + words;
    // ssh(1), EXIT STATUS. The host is on its own then, and its injector acts when the lease is over.
    if (spoke && WEXITSTATUS(status) == 255)
      return fmt::format(
          "the link to {} was lost{}; what is in force there is undone when its lease runs out, within {} s",
          host, told, default_lease_ns / 1'000'000'000);
    return fmt::format("the injector on {} ended with exit code {}{}{}", host, WEXITSTATUS(status),
                       spoke ? "" : " before it spoke", told);
  }

  // All that was said for people, on either stream.
  std::string last_words() {
    boost::system::error_code error;
    err.non_blocking(true, error);
    while (const auto size = err.read_some(asio::buffer(heard), error))
      said.append(heard.data(), size);
    auto told = in_one_line(said);
    const auto before = spoke ? "" : in_one_line(preamble);
    if (!before.empty()) told += fmt::format("{}it printed \"{}\"", told.empty() ? "" : "; ", before);
    return told;
  }

  std::string words() {
    keep({static_cast<const char*>(buffer.data().data()), buffer.size()});
    buffer.consume(buffer.size());
    const auto told = last_words();
    return told.empty() ? ", and printed nothing" : ": " + told;
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

  struct Waiting {
    std::string verb;
    Clock::time_point since;
    std::function<void(Reply)> handler;
  };

  asio::io_context& io;
  std::string host;
  Sinks sinks;
  Patience patience;
  asio::posix::stream_descriptor in, out, err, process;  // `process` is a pidfd: readable once it ended
  asio::steady_timer renewal, deadline, overdue;
  asio::streambuf buffer;
  std::deque<std::string> outbox;
  std::map<std::int64_t, Waiting> waiting;
  Clock::time_point last_heard = Clock::now(), last_look = Clock::now();
  std::int64_t next_id = 1;
  pid_t pid = -1;
  std::array<char, 4096> heard{};
  std::string said, left_because, ended_because;
  std::string preamble;  // printed by what is no injector, before it speaks
  bool writing = false, closing = false, ended = false, watching = false;
  bool spoke = false;  // it answered once
  bool heard_since_renewal = true;
  int unheard_renewals = 0;
};

Link::Link(asio::io_context& io, std::string host, const std::vector<std::string>& command, Sinks sinks,
           Patience patience)
    : state_(std::make_shared<State>(io, std::move(host), std::move(sinks), patience)) {
  Pipe to, from, errors;
  try {
    state_->pid = spawn(command, to.read, from.write, errors.write);
  } catch (const std::exception& e) {
    if (command.front() != "sudo") throw;
    throw std::runtime_error(fmt::format(
        "{}; the injector needs root: run squall as root, or let sudo start it without a password",
        e.what()));
  }
  state_->in.assign(to.take(to.write));
  state_->out.assign(from.take(from.read));
  state_->err.assign(errors.take(errors.read));
  const auto process =
      static_cast<int>(::syscall(SYS_pidfd_open, state_->pid, 0));  // glibc 2.36 declares it, 2.31 does not
  if (process < 0) throw std::runtime_error(fmt::format("watch the injector: {}", std::strerror(errno)));
  state_->process.assign(process);
  state_->read();
  state_->listen_to_errors();
}

Link::~Link() {
  close();
}

void Link::request(json::object message, std::function<void(Reply)> handler) {
  auto& state = *state_;
  if (state.ended || state.closing) {
    asio::post(state.io,
               [handler = std::move(handler), why = state.ended_because.empty()
                                                        ? fmt::format("the link to {} is closed", state.host)
                                                        : state.ended_because] {
                 handler(tl::unexpected(Refusal{"lost", why}));
               });
    return;
  }
  const auto id = state.next_id++;
  message["id"] = id;
  auto line = json::serialize(message) + "\n";
  if (line.size() > longest_request) {
    asio::post(state.io, [handler = std::move(handler)] {
      handler(tl::unexpected(Refusal{
          "input",
          fmt::format("the request is longer than the {} MiB that can be carried", longest_request >> 20)}));
    });
    return;
  }
  auto verb = State::text(message, "do", "");
  state.waiting.emplace(id, State::Waiting{std::move(verb), Clock::now(), std::move(handler)});
  state.outbox.push_back(std::move(line));
  state.write();
  if (!state.watching) state.last_look = Clock::now();
  state.watch();
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
    state->unheard_renewals =
        std::exchange(state->heard_since_renewal, false) ? 0 : state->unheard_renewals + 1;
    if (state->unheard_renewals > 0 && state->unheard_renewals % 2 == 0 && state->sinks.silent)
      state->sinks.silent(state->unheard_renewals * every);
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

void Link::give_up(const std::string& why) {
  state_->give_up(why, SIGTERM);
}

bool Link::open() const {
  return !state_->ended && !state_->closing;
}
const std::string& Link::host() const {
  return state_->host;
}

}  // namespace squall
