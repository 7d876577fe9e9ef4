// What became of processes that were struck: when they ended, and who was there instead of them when.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/faults/aim/selected.hpp"
#include "injector/faults/aim/successors.hpp"
#include "injector/system/process_events.hpp"

namespace squall::faults {

// CLOCK_MONOTONIC, ns; 0: not (yet).
struct Victim {
  Process process;
  Fd pidfd;
  std::int64_t signalled = 0, died = 0;
  std::int64_t exited = 0;  // its last thread so far, as the kernel told
  std::unique_ptr<boost::asio::posix::stream_descriptor> end;
};

class KilledWatch {
 public:
  // `there` were selected before: they stand in for nobody. Without `setting.io` it only looks when it is
  // asked.
  KilledWatch(const TargetSpec&, const Setting&, const std::vector<Process>& there);
  KilledWatch(const KilledWatch&) = delete;

  // Hears the kernel from now on, so before the first blow.
  void listen();
  Victim& add(const Process&, Fd pidfd, std::int64_t signalled);
  // Looks for successors by itself, until it is stopped.
  void start();
  void stop();

  // Whoever has ended by now is told as an event.
  void notice_deaths();
  // Everybody who is selected now; who is new among them stands in for one that died. `listens`: somebody was
  // seen to listen on the port just before.
  tl::expected<Selected, std::string> look(bool listens = false);

  const std::vector<std::unique_ptr<Victim>>& victims() const { return victims_; }
  // How long the longest return took, and where that is known no better than within a time, by how much it
  // may have been less.
  void tell_returns(Dose&) const;
  std::vector<FaultEvent> take_events();

 private:
  void note(ProcessEvents::What, pid_t, std::int64_t at);
  void note_death(Victim&);
  void settle();
  void came(const Process&, Moment);
  void look_for_successors();
  void look_again_in(std::chrono::milliseconds);
  bool somebody_listens();

  TargetSpec on_;
  Setting setting_;
  bool here_;  // all in our own network namespace
  std::vector<std::unique_ptr<Victim>> victims_;
  Successors successors_;
  std::vector<FaultEvent> events_;
  std::vector<std::pair<pid_t, std::int64_t>> arrived_;  // since the last look, with the moment
  std::unique_ptr<ProcessEvents> arrivals_;
  std::unique_ptr<boost::asio::steady_timer> look_;
  std::int64_t looked_ = 0;
  bool stopped_ = false;
  // A handler that is queued already is called although its timer is gone, and this with it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace squall::faults
