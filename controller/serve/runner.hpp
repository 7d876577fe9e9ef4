// Drills as child processes: `squall run` with a folder of its own. A drill that the daemon started ends with
// it: its standard input is a pipe whose other end only the daemon holds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/serve/events.hpp"
#include "controller/serve/folder.hpp"
#include "controller/serve/store/store.hpp"
#include "injector/system/process.hpp"

namespace squall::serve {

struct Cause {
  std::string who;       // a person, or "schedule NAME"
  std::string schedule;  // with `due`: the occurrence it is
  std::int64_t due = 0;
};

class Runner {
 public:
  // Records go below `folder`, the injector keeps its journal in `state`.
  Runner(boost::asio::io_context&, Store&, Events&, std::string folder, std::string state);
  ~Runner();

  // Ends what an earlier daemon left: a drill that is still being undone is waited for.
  void settle();
  // Why it cannot begin beside those that run; "" where it can.
  std::string in_the_way(const Landscape&, const Touched&) const;
  // Starts what was read, not what the file says by now; its run. Throws std::runtime_error.
  StoredRun start(const FolderDrill&, const std::string& landscape_text, const Cause&);
  // False where no such drill runs.
  bool halt(const std::string& id);
  std::size_t halt_all();
  std::vector<StoredRun> running() const;
  bool idle() const { return active_.empty(); }
  // Called when a run has ended.
  std::function<void(const StoredRun&)> ended;
  // The record's last word of each fault's dose and of users, for pages; by run.
  struct Live {
    std::string window;
    std::map<std::string, std::string> doses;                            // by step
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> users;  // by service: good, all
    std::vector<std::string> alerts;
  };
  const Live* live(const std::string& id) const;

 private:
  struct Active;
  void watch(const std::shared_ptr<Active>&, Fd pidfd);
  void finish(const std::shared_ptr<Active>&);
  void follow();
  void read_on(Active&);
  void take(Active&, const std::string& line);
  void tell_users(Active&);

  boost::asio::io_context& io_;
  Store& store_;
  Events& events_;
  std::string folder_, state_, program_;
  boost::asio::steady_timer follow_;
  bool following_ = false;
  std::map<std::string, std::shared_ptr<Active>> active_;
};

// What the folder of a run says of its end, as far as it does.
void read_outcome(StoredRun&);
// The folder of the record below that of a run; "" before there is one.
std::string record_folder(const std::string& folder);

}  // namespace squall::serve
