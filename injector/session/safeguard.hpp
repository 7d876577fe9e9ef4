// What has to exist before the first change: the undo journal on disk, and a guardian that is armed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/host/packets/engine_watch.hpp"
#include "injector/undo/guardian.hpp"
#include "injector/undo/journal.hpp"

namespace squall {

// Both of them, for one session, made when they are first needed: an idle injector has neither, and no
// timers.
class Safeguard {
 public:
  // `lost` is called when the guardian has died and no other can be started: nothing may stay in force then.
  Safeguard(boost::asio::io_context&, std::string state, std::string session, std::function<void()> lost);
  Safeguard(const Safeguard&) = delete;

  // Makes sure of both; throws std::runtime_error where that cannot be. The first time it also puts back what
  // dead sessions have left on this host.
  void arm();
  bool armed() const { return guardian_ != nullptr; }
  Journal& journal() { return *journal_; }
  // Whether something is in force (or about to be): the heart beats while it is.
  void hold(bool in_force);
  // Something that may take a while comes now, such as resolving names; hold() ends it.
  void expect_a_pause();
  // Ends both. The journal stays where something is left to undo.
  void end(bool everything_is_undone);

 private:
  void start_guardian();
  // Gives the guardian the journal to hold, and tells the host of both.
  void entrust();
  void beat();

  boost::asio::io_context& io_;
  std::string state_, session_;
  std::function<void()> lost_;
  boost::asio::steady_timer beats_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Guardian> guardian_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> death_;
  bool in_force_ = false;
  EngineWatch engines_;
};

}  // namespace squall
