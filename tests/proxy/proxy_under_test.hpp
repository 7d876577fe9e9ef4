// A proxy on a thread of its own, in front of a server of the test's, and clients that block.
#pragma once

#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include "injector/proxy/proxy.hpp"

namespace squall::testing {

// A blocking TCP socket that gives up after 20 s.
class Client {
 public:
  explicit Client(std::uint16_t port);
  explicit Client(int descriptor);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) = delete;
  ~Client();

  void send(const std::string&);
  void send_no_more();
  // Ends it by a TCP reset.
  void reset();
  // What came in one read; "" at the end or where the connection broke, `error` then says how (0: the end).
  std::string some(std::size_t most = 1 << 16);
  // So many bytes, or what came before the end.
  std::string bytes(std::size_t);
  std::string rest();
  bool silent(int milliseconds);
  int error = 0;

 private:
  int socket_;
};

// Each connection is served on a thread of its own.
class Upstream {
 public:
  explicit Upstream(std::function<void(Client&)> serve);
  ~Upstream();
  std::uint16_t port() const { return port_; }

 private:
  int socket_;
  std::uint16_t port_ = 0;
  std::vector<std::thread> served_;
  std::thread thread_;
};

// Sends everything back.
void echo(Client&);
// Bytes that repeat nowhere soon.
std::string noise(std::size_t, unsigned seed = 1);

class ProxyUnderTest {
 public:
  explicit ProxyUnderTest(std::uint16_t upstream, std::uint64_t seed = 1, bool http = false);
  explicit ProxyUnderTest(const std::string& upstream, std::uint64_t seed = 1, bool http = false);
  ~ProxyUnderTest();
  std::uint16_t port() const { return port_; }

  // On the proxy's thread.
  template <class F>
  auto with(F act) {
    return boost::asio::post(io_, boost::asio::use_future([&] { return act(*proxy_); })).get();
  }
  void toxics(std::vector<proxy::Toxic> all) {
    with([&](auto& proxy) { proxy.set_toxics(all); });
  }
  // On the requests from now on.
  void rule(proxy::HttpRule rule) {
    with([&](auto& proxy) { proxy.set_http(std::make_shared<const proxy::HttpRule>(std::move(rule))); });
  }
  void no_rule() {
    with([](auto& proxy) {
      proxy.set_http(nullptr);
      return 0;
    });
  }
  proxy::ProxyStatistics statistics() {
    return with([](auto& proxy) { return proxy.statistics(); });
  }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  proxy::Engine engine_{io_};
  std::unique_ptr<proxy::Proxy> proxy_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace squall::testing
