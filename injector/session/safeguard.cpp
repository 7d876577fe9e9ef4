#include "injector/session/safeguard.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "injector/undo/host_sessions.hpp"
#include "injector/undo/recovery.hpp"

namespace squall {

namespace asio = boost::asio;

Safeguard::Safeguard(asio::io_context& io, std::string state, std::string session, std::function<void()> lost)
    : io_(io), state_(std::move(state)), session_(std::move(session)), lost_(std::move(lost)), beats_(io) {}

void Safeguard::arm() {
  // A fault on top of a forgotten one would take that one for how the host was.
  if (!journal_) {
    recover(state_);
    forget_old_sessions();
  }
  // It is there before the journal, so that a journal is never without somebody who cleans it up.
  if (!guardian_ || !guardian_->alive()) start_guardian();
  if (journal_) return;
  journal_ = std::make_unique<Journal>(state_, session_);
  try {
    entrust();
  } catch (...) {
    journal_->remove();
    journal_.reset();
    throw;
  }
}

void Safeguard::entrust() {
  if (!journal_) return;
  guardian_->hold(journal_->descriptor());
  struct stat file{};
  ::fstat(journal_->descriptor(), &file);
  const auto self = read_process_stat(::getpid()), guardian = read_process_stat(guardian_->pid());
  note_session({.session = session_,
                .state = state_,
                .boot = boot_id(),
                .pid = ::getpid(),
                .guardian = guardian_->pid(),
                .ticks = self ? self->start_ticks : 0,
                .guardian_ticks = guardian ? guardian->start_ticks : 0,
                .device = file.st_dev,
                .inode = file.st_ino});
}

void Safeguard::start_guardian() {
  death_.reset();
  guardian_.reset();
  guardian_ = std::make_unique<Guardian>(journal_path(state_, session_));
  guardian_->beat(in_force_ ? Beat::in_force : Beat::idle);
  entrust();
  death_ = std::make_unique<asio::posix::stream_descriptor>(io_, ::dup(guardian_->pidfd()));
  death_->async_wait(asio::posix::stream_descriptor::wait_read, [this](auto error) {
    if (error) return;
    try {
      start_guardian();
    } catch (const std::exception&) {
      lost_();
    }
  });
}

void Safeguard::hold(bool in_force) {
  const bool was = std::exchange(in_force_, in_force);
  if (guardian_) guardian_->beat(in_force ? Beat::in_force : Beat::idle);
  if (in_force && !was) beat();
  if (in_force) return;
  beats_.cancel();
  if (!journal_ || !journal_->compact()) return;
  try {
    entrust();
  } catch (const std::exception&) {
    guardian_.reset();  // another one is started before the next change
  }
}

void Safeguard::beat() {
  beats_.expires_after(std::chrono::milliseconds{beat_period_ms});
  beats_.async_wait([this](auto error) {
    if (error || !in_force_) return;
    // Its packets would wait for ever: with this process the kernel lets go of them, and the guardian undoes
    // the rest.
    if (engines_.hangs()) {
      constexpr std::string_view words =
          "squall-injector: an engine no longer looks at its packets: ended, so that they flow again\n";
      [[maybe_unused]] auto ignored = ::write(STDERR_FILENO, words.data(), words.size());
      ::_exit(70);  // EX_SOFTWARE in sysexits.h
    }
    if (guardian_) guardian_->beat(Beat::in_force);
    beat();
  });
}

void Safeguard::expect_a_pause() {
  if (in_force_ && guardian_) guardian_->beat(Beat::busy);
}

void Safeguard::end(bool everything_is_undone) {
  beats_.cancel();
  death_.reset();
  if (journal_ && everything_is_undone) {
    forget_session(
        session_);  // before the journal: who dies between them leaves what says that all is undone
    journal_->remove();
  }
  guardian_.reset();
  journal_.reset();
}

}  // namespace squall
