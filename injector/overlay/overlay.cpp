#include "injector/overlay/overlay.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/overlay/detach.hpp"
#include "injector/overlay/keeper.hpp"

extern char** environ;

namespace squall::overlay {
namespace {

constexpr int in_place_within_ms = 10'000;
constexpr int out_of_the_way = 64;  // above every descriptor that the keeper is given

std::runtime_error failure(const std::string& attempt) {
  return std::runtime_error(fmt::format("{}: {}", attempt, std::strerror(errno)));
}

// Our own program, or, in a program that links this (squall, a test), the one beside it.
std::string program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (self.filename().string().starts_with("squall-injector")) return "/proc/self/exe";
  return (self.parent_path() / "squall-injector").string();
}

Fd lifted(int descriptor) {
  return Fd{::fcntl(descriptor, F_DUPFD_CLOEXEC, out_of_the_way)};
}

std::pair<Fd, Fd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw failure("make a pipe");
  std::pair<Fd, Fd> out{lifted(ends[0]), lifted(ends[1])};
  ::close(ends[0]);
  ::close(ends[1]);
  return out;
}

void start(const std::string& tag, const std::vector<std::pair<int, int>>& given) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (auto& [from, to] : given)
    posix_spawn_file_actions_adddup2(&actions, from, to);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string words[] = {"squall-injector", command, tag};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program().c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  errno = error;
  if (error) throw failure("start the overlay's keeper");
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR)
    ;
}

std::string read_within(int descriptor, int milliseconds) {
  std::string out;
  char piece[512];
  pollfd ready{descriptor, POLLIN, 0};
  while (::poll(&ready, 1, milliseconds) == 1) {
    const auto got = ::read(descriptor, piece, sizeof piece);
    if (got <= 0) return out;
    out.append(piece, static_cast<std::size_t>(got));
  }
  return "it was not in place in time";
}

}  // namespace

std::string Place::below() const {
  return pid == ::getpid() ? path : fmt::format("/proc/{}/root{}", pid, path);
}

Overlay::Overlay(Place place, std::string tag, std::uint64_t seed)
    : place_(std::move(place)), tag_(std::move(tag)) {
  folder_ = Fd{::open(place_.below().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  namespace_ = Fd{::open(fmt::format("/proc/{}/ns/mnt", place_.pid).c_str(), O_RDONLY | O_CLOEXEC)};
  memory_ = Fd{make_shared()};
  shared_ = memory_ ? map_shared(memory_.get()) : nullptr;
  if (!shared_) throw failure("make memory for an overlay");
  shared_->seed = seed;
}

Overlay::~Overlay() {
  unmap_shared(shared_);
}

void Overlay::attach() {
  if (!folder_ || !namespace_) throw std::runtime_error("the folder is not there any more");
  auto [life, our_life] = make_pipe();
  auto [said, saying] = make_pipe();
  const auto memory = lifted(memory_.get()), folder = lifted(folder_.get()), in = lifted(namespace_.get());
  lifeline_ = std::move(our_life);
  start(tag_, {{life.get(), Given::lifeline},
               {saying.get(), Given::ready},
               {memory.get(), Given::memory},
               {folder.get(), Given::folder},
               {in.get(), Given::in}});
  saying.reset();
  const auto answer = read_within(said.get(), in_place_within_ms);
  if (answer == "!") return;
  release();
  throw std::runtime_error(answer.empty() ? "the overlay's keeper ended" : answer);
}

void Overlay::release() {
  let_go(*shared_);
  detach(tag_);
  lifeline_.reset();
}

void put_over(Transaction& transaction, const std::shared_ptr<Overlay>& overlay) {
  Change change{.what = fmt::format("mount an overlay over {}", overlay->place().path)};
  change.inverse = Inverse{"overlay.detach", {{"tag", overlay->tag()}, {"path", overlay->place().path}}};
  change.act = [overlay] { overlay->attach(); };
  change.release = [overlay]() -> Undone {
    overlay->release();
    if (attached(overlay->tag())) return {UndoOutcome::failed, "the overlay is still mounted"};
    return {UndoOutcome::undone};
  };
  transaction.add(std::move(change));
}

std::string missing() {
  if (::geteuid() != 0) return "only root may mount an overlay";
  if (::access("/dev/fuse", R_OK | W_OK) != 0)
    return fmt::format("/dev/fuse: {} (modprobe fuse)", std::strerror(errno));
  return "";
}

}  // namespace squall::overlay

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("take the overlay away from {}", text_of(with, "path"));
}

// First what is held back is let go, and nothing more is mounted; what is mounted by then is seen.
Undone carry_out(const boost::json::object& with) {
  const auto tag = text_of(with, "tag");
  const bool running = overlay::let_go_of(tag);
  const auto gone = overlay::detach(tag);
  if (!gone.error.empty() || overlay::attached(tag))
    return {UndoOutcome::failed, gone.error,
            fmt::format("umount -l '{}' in each mount namespace that \"grep {} /proc/*/mountinfo\" finds",
                        text_of(with, "path"), tag)};
  return {running || gone.mounts ? UndoOutcome::undone : UndoOutcome::already};
}

}  // namespace

extern const UndoVerb overlay_detach;
const UndoVerb overlay_detach{"overlay.detach", describe, carry_out, {"mount"}};

}  // namespace squall::undo
