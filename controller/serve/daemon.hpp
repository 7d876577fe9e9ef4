// The daemon: the folder, the store, the runner, the scheduler, and the door to them.
#pragma once

#include <memory>
#include <set>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/serve/events.hpp"
#include "controller/serve/folder.hpp"
#include "controller/serve/rights/gate.hpp"
#include "controller/serve/runner.hpp"
#include "controller/serve/scheduler.hpp"
#include "controller/serve/store/store.hpp"
#include "injector/system/process.hpp"

namespace squall::serve {

struct DaemonOptions {
  std::string drills;                     // the folder
  std::string listen = "127.0.0.1:8475";  // address:port
  std::string store;                      // the database's file
  std::string records;                    // where runs' folders are made
  std::string state;                      // the injector's
  std::set<std::string> names;            // more names by which it is reached
  bool allow_commands = false;
};

class Daemon {
 public:
  // Throws std::runtime_error where the store cannot be opened or the address cannot be listened on.
  Daemon(boost::asio::io_context&, const DaemonOptions&);

  std::uint16_t port() const { return server_->port(); }
  // Halts every drill, and calls `done` when all of it is undone.
  void stop(std::function<void()> done);

  const DaemonOptions options;
  Fd lock;  // of the store, for as long as this daemon lives
  Folder folder;
  Store store;
  Events events;
  Runner runner;
  Scheduler scheduler;
  Gate gate;
  std::uint64_t requests = 0;
  bool stopping = false;

 private:
  void watch_folder();
  std::string folder_state_;
  boost::asio::steady_timer look_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace squall::serve
