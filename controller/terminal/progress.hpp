// A drill as it happens: a line for everything worth telling, and on a terminal a status line below that
// keeps moving. It watches the run log like any other observer, so it can show nothing that is not in the
// record.
#pragma once

#include <map>
#include <string>

#include <boost/json.hpp>

#include "controller/record/run_log.hpp"
#include "scenarios/model/scenario.hpp"

namespace squall {

// Of the terminal behind a descriptor; 100 where there is none.
std::size_t terminal_columns(int fd);

class Progress {
 public:
  // `fd` is where to write (-1: nowhere). The status line appears only where it is a terminal.
  Progress(const Scenario&, RunLog&, int fd, bool color);
  // Removes the status line.
  void finish();

 private:
  struct Service {
    std::int64_t probes = 0, ok = 0;
    double slowest_ms = 0;
  };

  void hear(const boost::json::object&);
  void probe(const boost::json::object&);
  std::string who(const boost::json::object&) const;
  void line(std::int64_t t, const std::string& style, const std::string& text);
  void status(std::int64_t t);
  std::string styled(const std::string& style, const std::string& text) const;

  const Scenario& scenario_;
  int fd_;
  bool color_, terminal_;
  bool shown_ = false;
  std::string window_ = "starting";
  std::int64_t window_start_ = 0, last_status_ = 0;
  double window_seconds_ = 0;
  std::map<std::string, Service> services_;
  struct Probe {
    bool failing = false, told_failing = false;
    std::int64_t told_t = -1'000'000'000;
    int changes = 0;  // since it was told
  };
  std::map<std::pair<std::string, std::string>, Probe> probes_;  // by service and probe
  std::map<std::string, std::string> doses_;
};

}  // namespace squall
