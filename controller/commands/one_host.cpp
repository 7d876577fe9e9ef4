#include "controller/commands/one_host.hpp"

#include <csignal>

#include <boost/asio/co_spawn.hpp>

#include "controller/terminal/interrupts.hpp"

namespace squall {

OneHost::OneHost(const Arguments& arguments, const ChosenHost& host, bool privileged)
    : signals_(io_, SIGINT, SIGTERM, SIGHUP) {
  LinkOptions options;
  options.state = arguments.state;
  options.privileged = privileged;
  link_ = std::make_unique<Link>(io_, host.name, injector_command(host.spec, options, "stdio"),
                                 Link::Sinks{[this](const boost::json::object& event) {
                                               if (on_event) on_event(event);
                                             },
                                             [this](const std::string& why) { lost = why; },
                                             [this](auto for_how_long) {
                                               if (on_silence) on_silence(for_how_long);
                                             }});
  link_->keep_alive(std::chrono::seconds{3});
  listen();
}

void OneHost::listen() {
  signals_.async_wait([this](auto error, int) {
    if (error) return;
    ++interrupts_;
    interrupted = true;
    listen();
  });
}

void OneHost::close() {
  link_->close();
  ignore_interrupts(signals_);
}

Reply OneHost::ask(boost::json::object request, int patience) {
  std::optional<Reply> answer;
  link_->request(std::move(request), [&answer](Reply reply) { answer = std::move(reply); });
  const auto before = interrupts_;
  while (!answer) {
    if (io_.stopped()) io_.restart();
    io_.run_one();
    if (!answer && interrupts_ - before > patience) link_->give_up("interrupted by the user");
  }
  return std::move(*answer);
}

HostRecovered OneHost::recover(const HostSpec& host, const LinkOptions& options, const std::string& session) {
  std::optional<HostRecovered> out;
  boost::asio::co_spawn(io_, recover_lost_host(io_, host, options, session),
                        [&out](std::exception_ptr, HostRecovered found) { out = std::move(found); });
  while (!out) {
    if (io_.stopped()) io_.restart();
    io_.run_one();
  }
  return std::move(*out);
}

void OneHost::run_until(const std::function<bool()>& done) {
  while (!done() && lost.empty()) {
    if (io_.stopped()) io_.restart();
    io_.run_one();
  }
}

}  // namespace squall
