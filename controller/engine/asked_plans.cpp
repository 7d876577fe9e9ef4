#include "controller/engine/asked_plans.hpp"

#include <csignal>
#include <set>

#include "controller/engine/requests.hpp"
#include "controller/engine/together.hpp"

namespace squall {

namespace asio = boost::asio;

AskedPlans::AskedPlans(const Plan& plan, LinkOptions options, std::string environment)
    : plan_(plan),
      options_(std::move(options)),
      environment_(std::move(environment)),
      signals_(io_, SIGINT, SIGTERM, SIGHUP) {}

void AskedPlans::run() {
  std::set<std::string> hosts;
  for (auto& fault : plan_.faults)
    hosts.insert(fault.host);
  signals_.async_wait([this](auto error, int) {
    if (error) return;
    interrupted = true;
    for (auto& [name, link] : links_)
      if (link) link->give_up("interrupted by the user");
  });
  asio::co_spawn(io_, together(io_, hosts, [this](const std::string& host) { return ask(host); }),
                 [this](std::exception_ptr) {
                   for (auto& [name, link] : links_)
                     if (link) link->close();
                   io_.stop();
                 });
  io_.run();
}

asio::awaitable<void> AskedPlans::ask(const std::string& host) {
  auto& link = links_[host];
  try {
    link = std::make_unique<Link>(io_, host, injector_command(plan_.hosts.at(host), options_, "stdio"),
                                  Link::Sinks{});
  } catch (const std::exception& e) {
    unreachable[host] = e.what();
    co_return;
  }
  boost::json::object hello{{"do", "hello"}, {"version", 1}};
  if (!environment_.empty()) hello["environment"] = environment_;
  const auto greeted = co_await link->ask(hello);
  if (!greeted) {
    unreachable[host] = greeted.error().text;
    co_return;
  }
  for (auto& fault : plan_.faults)
    if (fault.host == host) replies.emplace(&fault, co_await link->ask(fault_request("plan", fault)));
}

}  // namespace squall
