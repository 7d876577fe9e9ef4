// Asks a source in a rhythm, one look at a time, and keeps its health: what Prometheus and Alertmanager share.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "controller/alerts/source.hpp"

namespace squall {

class Poller : public AlertSource {
 public:
  void run(std::function<void()> ready) override;
  void finish(std::function<void()> done) override;
  ~Poller() override;

 protected:
  Poller(boost::asio::io_context&, http::Client&, const AlertSourceSpec&, const AlertWatch::Sinks&, std::string name);
  // Asks all of `paths` below the source's address and hands their bodies over in that order; a failure ends the look.
  // `take` returns what is wrong with the bodies, or "".
  void ask(std::vector<std::string> paths, std::function<std::string(const std::vector<std::string>&)> take);
  // One look; it ends by calling ask.
  virtual void look() = 0;
  const AlertWatch::Sinks& sinks() const { return sinks_; }
  const std::string& name() const { return name_; }

 private:
  void ask_next(std::vector<std::string> paths, std::vector<std::string> bodies, std::function<std::string(const std::vector<std::string>&)> take);
  void ended(const std::string& error);
  void health(const std::string& error);

  boost::asio::steady_timer timer_;
  http::Client& client_;
  AlertSourceSpec spec_;
  const AlertWatch::Sinks& sinks_;
  std::string name_, last_error_;
  bool told_ = false, looking_ = false, last_look_ = false;
  std::function<void()> ready_, done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace squall
