// Asks a source in a rhythm, one look at a time, and keeps its health: what Prometheus and Alertmanager
// share.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "controller/alerts/source.hpp"
#include "controller/record/clock_estimate.hpp"

namespace squall {

class Poller : public AlertSource {
 public:
  void run(std::function<void()> ready) override;
  void finish(std::function<void()> done) override;
  ~Poller() override;

 protected:
  Poller(boost::asio::io_context&, http::Client&, const AlertSourceSpec&, const AlertWatch::Sinks&,
         std::string name);
  // Asks all of `paths` below the source's address and hands their bodies over in that order; a failure ends
  // the look. `take` returns what is wrong with the bodies, or "". A path that begins with '?' may fail: its
  // body is "" then.
  void ask(std::vector<std::string> paths, std::function<std::string(const std::vector<std::string>&)> take);
  // One look; it ends by calling ask.
  virtual void look() = 0;
  // The source's clock said something between these at a moment between those two of our monotonic one.
  // Returns by how much it was set, where it was; else 0.
  std::int64_t clock_said(std::int64_t low_ns, std::int64_t high_ns);
  void no_clock(const std::string& why);
  // It is another process than before, and has forgotten what was pending or firing.
  void restarted();
  // Told with the source's health: why it could not have told of any alert.
  void blind(std::string why) { blind_ = std::move(why); }
  const std::string& address() const { return spec_.address; }
  // An event of this source, seen now. `gap_ns` since the look before.
  AlertEvent event_of(const std::map<std::string, std::string>& labels, const std::string& fingerprint,
                      AlertState, std::int64_t since_ns) const;
  std::int64_t since_last_look_ns() const;  // 0 where there was none
  const AlertWatch::Sinks& sinks() const { return sinks_; }
  const std::string& name() const { return name_; }

 private:
  void ask_next(std::vector<std::string> paths, std::vector<std::string> bodies,
                std::function<std::string(const std::vector<std::string>&)> take);
  void ended(const std::string& error);
  void health(const std::string& error);
  // What a header Date of whole seconds says of the clock; for sources that tell no better.
  virtual bool clock_by_date() const { return true; }
  // One of the bodies of a look, as soon as it is there: for what is worth something only then, like a clock.
  virtual void answered(std::size_t, const std::string&) {}

  boost::asio::steady_timer timer_;
  http::Client& client_;
  AlertSourceSpec spec_;
  const AlertWatch::Sinks& sinks_;
  std::string name_, last_error_, blind_, last_blind_;
  ClockEstimate clock_;
  bool clock_told_ = false;
  std::int64_t sent_ = 0, received_ = 0, looked_ = 0, last_good_ = 0;  // monotonic
  std::int64_t zero_there_ = 0;  // what its clock said at our monotonic 0
  bool told_ = false, looking_ = false, last_look_ = false;
  std::function<void()> ready_, done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace squall
