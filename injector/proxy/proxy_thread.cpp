#include "injector/proxy/proxy_thread.hpp"

#include <exception>
#include <future>
#include <thread>

#include <sys/prctl.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include "injector/system/network_namespace.hpp"

namespace squall::proxy {

namespace asio = boost::asio;

struct ProxyThread::State {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  Engine engine{io};
  std::unique_ptr<Proxy> proxy;
  std::uint16_t port = 0;
  std::thread thread;

  template <class F>
  auto on_thread(F act) {
    return asio::post(io, asio::use_future([&] { return act(*proxy); })).get();
  }
};

ProxyThread::ProxyThread(const ProxyPlan& plan, std::uint64_t network_namespace, pid_t namespace_pid)
    : state_(std::make_unique<State>()) {
  std::promise<void> listening;
  auto* state = state_.get();
  state->thread = std::thread{[&listening, state, plan, network_namespace, namespace_pid] {
    try {
      in_network_namespace(network_namespace, namespace_pid, [&] {
        ::prctl(PR_SET_TIMERSLACK, 1);
        state->proxy = std::make_unique<Proxy>(state->engine, plan);
        state->proxy->enable();
        state->port = state->proxy->port();
        listening.set_value();
        state->io.run();
      });
    } catch (...) {
      if (!state->port) listening.set_exception(std::current_exception());
    }
  }};
  try {
    listening.get_future().get();
  } catch (...) {
    state->thread.join();
    throw;
  }
}

ProxyThread::~ProxyThread() {
  if (!state_) return;
  state_->on_thread([this](auto& proxy) {
    proxy.break_off();
    state_->proxy.reset();
    return 0;
  });
  state_->work.reset();
  state_->thread.join();
}

std::uint16_t ProxyThread::port() const {
  return state_->port;
}

void ProxyThread::set_toxics(std::vector<Toxic> toxics) {
  state_->on_thread([&](auto& proxy) {
    proxy.set_toxics(std::move(toxics));
    return 0;
  });
}

void ProxyThread::set_http(std::shared_ptr<const HttpRule> rule) {
  state_->on_thread([&](auto& proxy) {
    proxy.set_http(std::move(rule));
    return 0;
  });
}

ProxyStatistics ProxyThread::statistics() {
  return state_->on_thread([](auto& proxy) { return proxy.statistics(); });
}

std::uint64_t ProxyThread::only_carry() {
  return state_->on_thread([](auto& proxy) {
    proxy.set_toxics({});
    proxy.set_http(nullptr);
    proxy.accept_waiting();
    return proxy.statistics().open;
  });
}

}  // namespace squall::proxy
