#include "controller/serve/events.hpp"

#include <charconv>

#include <fmt/format.h>

#include "controller/serve/rights/secret.hpp"

namespace squall::serve {
namespace {

constexpr std::size_t most_kept = 1000, most_watchers = 200;
constexpr auto between_beats = std::chrono::seconds{10};

}  // namespace

Events::Events(boost::asio::io_context& io) : heartbeat_(io), life_(new_token().substr(0, 8)) {}

void Events::tell(const std::string& kind, const boost::json::object& what) {
  const auto number = next_++;
  auto text =
      fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", life_, number, kind, boost::json::serialize(what));
  for (auto& watcher : watchers_)
    watcher->send(text);
  kept_.push_back({number, std::move(text)});
  if (kept_.size() > most_kept) kept_.pop_front();
}

std::string Events::since(const std::string& last) const {
  if (last.empty()) return "";
  std::uint64_t number = 0;
  const auto dash = last.find('-');
  const bool ours = dash != last.npos && last.substr(0, dash) == life_;
  if (ours) std::from_chars(last.data() + dash + 1, last.data() + last.size(), number);
  const auto oldest = kept_.empty() ? next_ : kept_.front().number;
  if (!ours || number + 1 < oldest) return "event: reset\ndata: {}\n\n";
  std::string out;
  for (auto& one : kept_)
    if (one.number > number) out += one.text;
  return out;
}

http::ServerAnswer Events::watch(const std::string& last_event_id) {
  if (watchers() >= most_watchers) return {503, "too many are watching\n"};
  http::ServerAnswer out;
  out.type = "text/event-stream; charset=utf-8";
  out.headers = {{"Cache-Control", "no-store, no-transform"}, {"X-Accel-Buffering", "no"}};
  out.body = "retry: 1000\n\n" + since(last_event_id);
  out.stream = [this](std::shared_ptr<http::Stream> stream) {
    watchers_.push_back(std::move(stream));
    if (!beating_) beat();
  };
  return out;
}

std::size_t Events::watchers() {
  std::erase_if(watchers_, [](auto& one) { return !one->open(); });
  return watchers_.size();
}

// Nothing wakes the daemon where nobody watches.
void Events::beat() {
  beating_ = watchers() > 0;
  if (!beating_) return;
  for (auto& watcher : watchers_)
    watcher->send(": still here\n\n");
  heartbeat_.expires_after(between_beats);
  heartbeat_.async_wait([this](auto error) {
    if (!error) beat();
  });
}

}  // namespace squall::serve
