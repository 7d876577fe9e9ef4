// Runs one drill: baseline, method, recovery; faults on their timeline, probes and alerts all along, halt
// conditions evaluated continuously. Everything that happens goes to the run log first. Whatever ends the
// drill, undo comes first.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/alerts/routing.hpp"
#include "controller/alerts/watch.hpp"
#include "controller/engine/presence.hpp"
#include "controller/hosts/link.hpp"
#include "controller/plan/planner.hpp"
#include "controller/probes/prober.hpp"
#include "controller/record/run_log.hpp"
#include "reports/render/live.hpp"

namespace squall {

struct DrillOptions {
  std::string runs = "./runs";
  LinkOptions link;
  std::uint64_t seed = 1;
  std::string scenario_file, scenario_text, landscape_text;
  std::vector<std::string> files;
};

// Why a drill is no drill: its input is wrong. Nothing was changed, and there is nothing to report on.
struct CannotStart {
  int exit_code = 2;
  std::string text;  // what Diagnostics render
};

struct HostRescued;

class Drill {
 public:
  Drill(boost::asio::io_context&, const Scenario&, const Plan&, DrillOptions);
  ~Drill();

  // Connects to the hosts, all at once, and has every fault planned there: throws CannotStart where the input
  // is wrong. A host that cannot be reached, or refuses, is told in `cannot_start`, and by the record of a
  // run that does nothing else.
  boost::asio::awaitable<void> prepare();
  const std::vector<std::string>& cannot_start() const { return cannot_start_; }
  // Makes the run's folder. Between prepare and run, so that observers see the first event.
  RunLog& open_log();
  // The whole drill; comes back when every fault is undone and the record is complete.
  boost::asio::awaitable<void> run();
  // Undo first, report after. Safe at any time, again and again.
  void halt(const std::string& reason, std::string_view by);

  RunLog& log() { return *log_; }

 private:
  struct Host;
  struct Active;

  boost::asio::awaitable<bool> pause_until(std::chrono::steady_clock::time_point,
                                           std::function<bool()> until = {});
  void wake_everybody();
  void watch_presence();
  void note_silence();
  std::vector<Unanswered> unanswered() const;
  boost::asio::awaitable<void> observe();
  boost::asio::awaitable<bool> baseline();
  boost::asio::awaitable<void> method();
  boost::asio::awaitable<void> step(const Step&, std::chrono::steady_clock::time_point method_start);
  boost::asio::awaitable<void> connect(Host&);
  boost::asio::awaitable<void> plan_faults();
  boost::asio::awaitable<void> take_snapshot(Host&);
  boost::asio::awaitable<bool> prepare(Active&);
  boost::asio::awaitable<bool> apply(Active&);
  void could_not_apply(Active&, const Refusal&);
  boost::asio::awaitable<void> undo(Active&);
  boost::asio::awaitable<void> undo_everything();
  boost::asio::awaitable<void> restored(Host&);
  boost::asio::awaitable<void> stop_observing();
  boost::asio::awaitable<void> watch_for_halt();
  boost::asio::awaitable<void> watch_clock(Host&);
  boost::asio::awaitable<bool> rest(std::chrono::nanoseconds);
  void from_host(Host&, const boost::json::object& event);
  void host_lost(Host&, const std::string& why);
  void host_silent(Host&, std::chrono::nanoseconds for_how_long);
  void host_rescued(Host&, std::int64_t silent_since, const HostRescued&);
  void note_undone(Active&, const boost::json::object& told);
  void start_record();
  // The near ends of connections by which services are probed go to the hosts whose faults are aimed at them.
  void note_probe(const std::string& service, const ProbeSample&);
  void send_probes(Active&);
  Active* find(const Host&, const std::string& step);

  boost::asio::io_context& io_;
  const Scenario& scenario_;
  const Plan& plan_;
  DrillOptions options_;
  std::unique_ptr<RunLog> log_;
  std::list<std::unique_ptr<Host>> hosts_;
  std::list<Active> active_;
  boost::json::array planned_;
  std::vector<std::string> host_findings_;  // of their policies, before the run
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<Presence> presence_;
  std::map<std::pair<std::string, std::string>, std::int64_t>
      silent_;  // probes told as silent, with the question's time
  std::unique_ptr<AlertWatch> alerts_;
  std::vector<AlertRule> rules_;
  std::optional<Routing> routing_;
  std::set<std::string> open_groups_;      // that Alertmanager had when it was first asked
  std::map<std::string, bool> answering_;  // alert sources by address
  std::set<boost::asio::steady_timer*> sleeping_;
  std::set<std::string> ended_steps_;
  struct Live;
  std::unique_ptr<Live> live_;        // the sliding windows behind halt conditions
  boost::json::object halted_early_;  // before there was a record
  std::vector<std::string> cannot_start_;
  int steps_running_ = 0;
  bool halting_ = false, watching_ = false, recovering_ = false;
};

}  // namespace squall
