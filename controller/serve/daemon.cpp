#include "controller/serve/daemon.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/file.h>

#include <spdlog/spdlog.h>
#include <boost/asio/ip/address.hpp>

#include "controller/serve/api.hpp"

namespace squall::serve {
namespace {

constexpr auto between_looks = std::chrono::seconds{5};
constexpr std::size_t largest_body = 64 << 10;

std::string made(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder);
  return path;
}

// Two daemons on one store would take each other's drills for what an earlier one left.
Fd locked(const std::string& store) {
  const auto path = made(store) + ".lock";
  Fd out{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640)};
  if (!out) throw std::runtime_error(fmt::format("{}: {}", path, std::strerror(errno)));
  if (::flock(out.get(), LOCK_EX | LOCK_NB) != 0)
    throw std::runtime_error(fmt::format("another daemon has the store {}", store));
  return out;
}

std::set<std::string> names_of(const DaemonOptions& options, std::uint16_t port) {
  std::set<std::string> out = options.names;
  const auto address = options.listen.substr(0, options.listen.rfind(':'));
  for (auto& host : {address, std::string("localhost"), std::string("127.0.0.1"), std::string("[::1]")})
    out.insert(fmt::format("{}:{}", host, port));
  return out;
}

}  // namespace

Daemon::Daemon(boost::asio::io_context& io, const DaemonOptions& with)
    : options(with),
      lock(locked(with.store)),
      folder(read_folder(with.drills, with.allow_commands)),
      store(with.store),
      events(io),
      runner(io, store, events, with.records, with.state),
      scheduler(io, store, runner, events, folder),
      folder_state_(folder_state(with.drills)),
      look_(io) {
  for (auto& file : folder.broken)
    spdlog::warn("{}", file.errors);
  server_ = std::make_unique<http::Server>(
      io, with.listen, [this](const http::ServerRequest& request) { return answer(*this, request); },
      largest_body);
  gate.known_as(names_of(with, port()));
  runner.ended = [](const StoredRun& run) { spdlog::info("{} {}: {}", run.id, run.verdict, run.detail); };
  runner.settle();
  scheduler.begin();
  watch_folder();
}

// Files change by `git pull` and editors: looked at, since a watch on a tree misses folders that are
// replaced.
void Daemon::watch_folder() {
  look_.expires_after(between_looks);
  look_.async_wait([this](auto error) {
    if (error) return;
    watch_folder();
    const auto state = folder_state(options.drills);
    if (state == folder_state_) return;
    folder_state_ = state;
    folder = read_folder(options.drills, options.allow_commands);
    for (auto& file : folder.broken)
      spdlog::warn("{}", file.errors);
    events.tell("folder.read", {{"broken", folder.broken.size()}});
    scheduler.look_again();
  });
}

void Daemon::stop(std::function<void()> done) {
  stopping = true;
  look_.cancel();
  if (runner.idle()) return done();
  runner.ended = [this, done = std::move(done)](const StoredRun& run) {
    spdlog::info("{} {}: {}", run.id, run.verdict, run.detail);
    if (runner.idle()) done();
  };
  runner.halt_all();
}

}  // namespace squall::serve
