// An alert source that is down, hangs or talks nonsense while a drill runs: the drill goes on to its end, the
// fault is undone, and what cannot be told is inconclusive, with the source named.
#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/servers.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

using testing::HasSubstr;

// Takes every connection and says the same to each, or nothing and keeps it.
class BadSource {
 public:
  explicit BadSource(std::string answer)
      : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 64);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread{[this] { serve(); }};
  }
  ~BadSource() {
    stop_ = true;
    thread_.join();
    for (int fd : kept_)
      ::close(fd);
    ::close(listener_);
  }
  int port() const { return port_; }
  unsigned asked() const { return asked_; }

 private:
  void serve() {
    while (!stop_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      char request[4096];
      if (fd < 0 || ::recv(fd, request, sizeof request, 0) <= 0) continue;
      ++asked_;
      if (answer_.empty()) {
        kept_.push_back(fd);
        continue;
      }
      const auto whole =
          fmt::format("HTTP/1.1 {}\r\nConnection: close\r\n\r\n", answer_.substr(0, answer_.find('\n'))) +
          answer_.substr(answer_.find('\n') + 1);
      ::send(fd, whole.data(), whole.size(), MSG_NOSIGNAL);
      ::shutdown(fd, SHUT_WR);
      while (::recv(fd, request, sizeof request, 0) > 0) {
      }
      ::close(fd);
    }
  }

  std::string answer_;  // the status line's end, a line feed, the body; "" never answers
  int listener_, port_ = 0;
  std::vector<int> kept_;
  std::atomic<bool> stop_ = false;
  std::atomic<unsigned> asked_ = 0;
  std::thread thread_;
};

class AlertSource : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
  }
  // A drill that expects an alert of this source.
  void drill_with(const std::string& kind, int port) {
    auto text = kill_drill(victim.process->pid(), web.address()) +
                "  - {alert: WebDown, fires_within: 1s}\n  - {other_alerts: none}\n" +
                fmt::format("alert_sources: [{{{}: \"http://127.0.0.1:{}\"}}]\n", kind, port);
    code = squall.drill(text);
  }
  void expect_inconclusive(const std::string& because) {
    EXPECT_EQ(code, 3) << squall.output();
    const auto report = squall.report();
    EXPECT_EQ(report.at("verdict").as_string(), "inconclusive");
    EXPECT_TRUE(report.at("restored").at("clean").as_bool());
    EXPECT_TRUE(squall.journals_gone());
    const auto& expectations = report.at("expectations").as_array();
    ASSERT_EQ(expectations.size(), 3U);
    EXPECT_EQ(expectations[0].at("verdict").as_string(), "held")
        << "what the probes say does not depend on it";
    for (unsigned i : {1U, 2U}) {
      EXPECT_EQ(expectations[i].at("verdict").as_string(), "inconclusive");
      EXPECT_THAT(std::string(expectations[i].at("evidence").as_string()), HasSubstr(because));
    }
  }
  Server victim = start_nginx("location / { return 200 ok; }");
  Server web = start_nginx("location / { return 200 ok; }");
  Squall squall;
  int code = -1;
};

TEST_F(AlertSource, that_is_down) {
  drill_with("prometheus", free_port());
  expect_inconclusive("prometheus");
}

TEST_F(AlertSource, that_never_answers) {
  BadSource source{""};
  drill_with("prometheus", source.port());
  EXPECT_GT(source.asked(), 0U);
  expect_inconclusive("prometheus");
}

TEST_F(AlertSource, that_answers_nonsense) {
  BadSource source{"200 OK\n<html>It works!</html>"};
  drill_with("prometheus", source.port());
  EXPECT_GT(source.asked(), 1U) << "it is asked again";
  expect_inconclusive("prometheus");
}

TEST_F(AlertSource, that_answers_json_of_another_shape) {
  BadSource source{"200 OK\n{\"status\": \"success\", \"data\": {\"groups\": 7, \"alerts\": [3]}}"};
  drill_with("alertmanager", source.port());
  EXPECT_GT(source.asked(), 1U);
  expect_inconclusive("alertmanager");
}

TEST_F(AlertSource, that_has_an_error_of_its_own) {
  BadSource source{"503 Service Unavailable\nnot now"};
  drill_with("alertmanager", source.port());
  expect_inconclusive("alertmanager");
}

}  // namespace
}  // namespace squall::test
