// Begins drills when their schedules say so. Each occurrence is decided once: begun, or skipped with a
// reason; the decision is in the store before anything is done about it, so that no restart repeats one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/http/client.hpp"
#include "controller/serve/events.hpp"
#include "controller/serve/folder.hpp"
#include "controller/serve/runner.hpp"
#include "controller/serve/store/store.hpp"

namespace squall::serve {

struct NextOccurrence {
  std::int64_t due = 0, starts_at = 0;  // starts_at: with its jitter
  std::string local;                    // starts_at there
  std::string not_now;                  // why the file itself would skip it; ""
};

class Scheduler {
 public:
  Scheduler(boost::asio::io_context&, Store&, Runner&, Events&, const Folder&);
  ~Scheduler();

  // Occurrences that another daemon claimed and never began are told as such. Then as below.
  void begin();
  // After the folder was read again, or a schedule was paused: decides what is due, sleeps until the next.
  void look_again();
  std::vector<NextOccurrence> next(const std::string& schedule, std::size_t count) const;
  std::uint64_t seed() const;

 private:
  struct Due {
    std::string schedule;
    std::int64_t due, starts_at;
    bool last;  // none of this schedule after it is due yet
  };
  std::vector<Due> due_by(std::int64_t now);
  void decide(const Due&, std::int64_t now);
  std::string refusal(const Due&, std::int64_t now);
  void skip(const Due&, const std::string& reason);
  void ask_alerts(const Due&);
  void answered(const Due&, const std::set<std::string>& firing, const std::string& problem);
  void sleep();

  Store& store_;
  Runner& runner_;
  Events& events_;
  const Folder& folder_;
  http::Client client_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace squall::serve
