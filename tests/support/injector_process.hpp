// The real squall-injector over its real protocol, for one caller.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "controller/hosts/child.hpp"
#include "tests/support/paths.hpp"

namespace squall::test {

class InjectorProcess {
 public:
  // In the network namespace of the calling thread.
  explicit InjectorProcess(const std::string& state, const std::string& policy_file = "",
                           const std::vector<std::string>& more = {}) {
    std::vector<std::string> command{bin_dir() + "/squall-injector", "stdio", "--state", state};
    if (!policy_file.empty()) command.insert(command.end(), {"--policy", policy_file});
    command.insert(command.end(), more.begin(), more.end());
    pid_ = squall::spawn(command, to_.read, from_.write, -1);
    ::close(Pipe::take(to_.read));
    ::close(Pipe::take(from_.write));
  }
  ~InjectorProcess() {
    hang_up();
    end();
  }
  InjectorProcess(const InjectorProcess&) = delete;

  pid_t pid() const { return pid_; }
  // End of file on its link.
  void hang_up() {
    if (to_.write >= 0) ::close(Pipe::take(to_.write));
  }
  // Waits for its end: as wait(2) tells it.
  int end() {
    if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status_, 0);
    return status_;
  }

  // As it is, without an id of ours.
  void write(const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
      const auto wrote = ::write(to_.write, text.data() + done, text.size() - done);
      if (wrote <= 0) throw std::runtime_error("the injector is gone");
      done += static_cast<std::size_t>(wrote);
    }
  }
  // The answer, ok or not. Throws where the injector is gone.
  boost::json::object ask(boost::json::object request) {
    request["id"] = ++id_;
    const auto line = boost::json::serialize(request) + "\n";
    if (::write(to_.write, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw std::runtime_error("the injector is gone");
    return wait_for([this](const boost::json::object& said) {
      auto* id = said.if_contains("id");
      return id && *id == id_;
    });
  }
  boost::json::object must(boost::json::object request) {
    auto answer = ask(std::move(request));
    if (!answer.at("ok").as_bool()) throw std::runtime_error(boost::json::serialize(answer));
    return answer;
  }
  // The next line that is meant; what comes before it is dropped. Throws after 20 s.
  boost::json::object wait_for(const std::function<bool(const boost::json::object&)>& is_meant) {
    for (;;) {
      for (std::size_t end; (end = heard_.find('\n')) != std::string::npos;) {
        auto said = boost::json::parse(heard_.substr(0, end)).as_object();
        heard_.erase(0, end + 1);
        if (is_meant(said)) return said;
      }
      pollfd ready{from_.read, POLLIN, 0};
      if (::poll(&ready, 1, 20'000) != 1) throw std::runtime_error("the injector says nothing");
      char chunk[8192];
      const auto got = ::read(from_.read, chunk, sizeof chunk);
      if (got <= 0) throw std::runtime_error("the injector is gone");
      heard_.append(chunk, static_cast<std::size_t>(got));
    }
  }
  boost::json::object wait_for_event(const std::string& name) {
    return wait_for([&](const boost::json::object& said) {
      auto* event = said.if_contains("event");
      return event && event->as_string() == std::string_view{name};
    });
  }

 private:
  Pipe to_, from_;
  pid_t pid_ = -1;
  int id_ = 0, status_ = 0;
  std::string heard_;
};

}  // namespace squall::test
