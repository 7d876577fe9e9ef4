// The real `squall`, with a state and a runs folder of its own and its output in a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "tests/support/server_process.hpp"

namespace squall::test {

class Squall {
 public:
  ~Squall();

  // Starts it; it is ended with the test.
  void start(std::vector<std::string> arguments);
  void start_drill(const std::string& scenario);
  // Waits for its end; its exit code, or 128 + the signal that ended it.
  int wait();
  int run(std::vector<std::string> arguments);
  int drill(const std::string& scenario);
  void signal(int number) const;
  bool runs_still() const;
  pid_t pid() const { return pid_; }

  std::filesystem::path state() const { return folder.path() / "state"; }
  std::filesystem::path runs() const { return folder.path() / "runs"; }
  std::string output() const;
  std::filesystem::path run_folder() const;
  boost::json::object report() const;
  std::string record() const;
  // False where the record does not hold the text within 30 s, or before its end.
  bool wait_for_record(const std::string& text) const;
  // False where an undo journal is still there after 10 s.
  bool journals_gone() const;

  TemporaryDirectory folder;
  // Set before it starts: what is started instead of the program, and what of the injector.
  std::string program, injector;

 private:
  pid_t pid_ = -1;
};

std::string content(const std::filesystem::path&);

// A drill that signals one process, and watches a service over HTTP.
std::string kill_drill(pid_t victim, const std::string& watched, const std::string& signal = "SIGKILL",
                       const std::string& lasts = "1500ms");

}  // namespace squall::test
