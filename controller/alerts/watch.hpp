// Watches every alert source and merges what they say into one stream of events, joined by fingerprint.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "reports/record/record.hpp"
#include "scenarios/model/landscape.hpp"

namespace squall {

struct AlertRule {
  std::string alert;
  std::map<std::string, std::string> labels;
  std::int64_t for_ns = 0;       // how long the condition must hold
  std::int64_t interval_ns = 0;  // how often it is evaluated
};

struct AlertSourceHealth {
  std::string source, address;
  bool ok = false;
  std::string error;
  std::string blind;  // why it could not have told of any alert, "" where it could
};

class Routing;

class AlertWatch {
 public:
  struct Sinks {
    std::function<void(const AlertEvent&)> event;
    std::function<void(const AlertSourceHealth&)> health;  // once at first, then at each change
    std::function<void(const AlertRule&)>
        rule;  // what Prometheus knows when first asked, and what is new later
    std::function<void(const Routing&)>
        routing;  // Alertmanager's configuration, once and whenever it changes
    std::function<void(std::string_view kind, boost::json::object)>
        note;  // for the record: clocks, restarts, alerts cut off
  };

  // Throws std::runtime_error where a webhook's address cannot be listened on.
  AlertWatch(boost::asio::io_context&, const std::vector<AlertSourceSpec>&, Sinks);
  ~AlertWatch();
  // Begins; `ready` is called once every source has answered or failed for the first time.
  void run(std::function<void()> ready);
  // One last look at every source (transitions that happened since the last look), then `done`.
  void finish(std::function<void()> done);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall
