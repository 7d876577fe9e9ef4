#include "controller/alerts/poller.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace squall {
namespace {

// A source that does not answer within this is down for that look.
constexpr std::chrono::nanoseconds patience{2'000'000'000};

}  // namespace

Poller::Poller(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec, const AlertWatch::Sinks& sinks, std::string name)
    : timer_(io), client_(client), spec_(spec), sinks_(sinks), name_(std::move(name)) {
  while (spec_.address.ends_with('/')) spec_.address.pop_back();
}

Poller::~Poller() { *alive_ = false; }

void Poller::run(std::function<void()> ready) {
  ready_ = std::move(ready);
  looking_ = true;
  look();
}

void Poller::finish(std::function<void()> done) {
  done_ = std::move(done);
  timer_.cancel();
  if (looking_) return;  // the one under way began before the end: its own end starts the last one
  last_look_ = looking_ = true;
  look();
}

void Poller::ask(std::vector<std::string> paths, std::function<std::string(const std::vector<std::string>&)> take) {
  ask_next(std::move(paths), {}, std::move(take));
}

void Poller::ask_next(std::vector<std::string> paths, std::vector<std::string> bodies,
                      std::function<std::string(const std::vector<std::string>&)> take) {
  if (bodies.size() == paths.size()) return ended(take(bodies));
  http::Request request;
  request.url = spec_.address + paths[bodies.size()];
  request.timeout = patience;
  request.largest_answer = 16 << 20;
  request.verify_tls = spec_.verify_tls;
  request.certificate = spec_.access.certificate;
  request.key = spec_.access.key;
  request.ca = spec_.access.ca;
  try {
    request.headers = spec_.access.header_lines();
  } catch (const std::invalid_argument& missing) {
    return ended(missing.what());
  }
  client_.get(request, [this, alive = alive_, paths = std::move(paths), bodies = std::move(bodies), take = std::move(take)](http::Answer answer) mutable {
    if (!*alive) return;
    if (!answer.ok) return ended(answer.error);
    if (answer.status != 200 && answer.status != 400) return ended(fmt::format("status {}", answer.status));
    bodies.push_back(std::move(answer.body));
    ask_next(std::move(paths), std::move(bodies), std::move(take));
  });
}

void Poller::health(const std::string& error) {
  if (told_ && error == last_error_) return;
  told_ = true;
  last_error_ = error;
  if (sinks_.health) sinks_.health({name_, spec_.address, error.empty(), error});
}

void Poller::ended(const std::string& error) {
  looking_ = false;
  health(error);
  if (auto ready = std::exchange(ready_, nullptr)) ready();
  if (done_) {
    if (std::exchange(last_look_, true)) return std::exchange(done_, nullptr)();
    looking_ = true;
    return look();
  }
  timer_.expires_after(spec_.every.chrono());
  timer_.async_wait([this, alive = alive_](auto cancelled) {
    if (cancelled || !*alive || done_) return;
    looking_ = true;
    look();
  });
}

}  // namespace squall
