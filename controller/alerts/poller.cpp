#include "controller/alerts/poller.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "controller/record/run_log.hpp"

namespace squall {
namespace {

// A source that does not answer within this is down for that look.
constexpr std::chrono::nanoseconds patience{2'000'000'000};

}  // namespace

Poller::Poller(boost::asio::io_context& io, http::Client& client, const AlertSourceSpec& spec,
               const AlertWatch::Sinks& sinks, std::string name)
    : timer_(io), client_(client), spec_(spec), sinks_(sinks), name_(std::move(name)) {
  while (spec_.address.ends_with('/'))
    spec_.address.pop_back();
}

Poller::~Poller() {
  *alive_ = false;
}

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

void Poller::ask(std::vector<std::string> paths,
                 std::function<std::string(const std::vector<std::string>&)> take) {
  looked_ = monotonic_clock_ns();
  ask_next(std::move(paths), {}, std::move(take));
}

void Poller::ask_next(std::vector<std::string> paths, std::vector<std::string> bodies,
                      std::function<std::string(const std::vector<std::string>&)> take) {
  if (bodies.size() == paths.size()) return ended(take(bodies));
  http::Request request;
  const auto& path = paths[bodies.size()];
  const bool optional = path.starts_with('?');
  request.url = spec_.address + path.substr(optional ? 1 : 0);
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
  const auto started = monotonic_clock_ns();
  client_.get(request, [this, alive = alive_, started, optional, paths = std::move(paths),
                        bodies = std::move(bodies), take = std::move(take)](http::Answer answer) mutable {
    if (!*alive) return;
    if (!answer.ok && (!optional || bodies.empty()))
      return ended(answer.error);  // who answers nothing at all is down
    if (answer.status != 200 && answer.status != 400 && !optional)
      return ended(fmt::format("status {}", answer.status));
    sent_ = started + std::max(answer.connect, answer.tls).count();
    received_ = monotonic_clock_ns();
    if (answer.ok && clock_by_date())
      if (const auto date = parse_http_date(answer.date)) clock_said(*date, *date + 1'000'000'000);
    bodies.push_back(answer.ok && (answer.status == 200 || !optional) ? std::move(answer.body)
                                                                      : std::string());
    answered(bodies.size() - 1, bodies.back());
    ask_next(std::move(paths), std::move(bodies), std::move(take));
  });
}

std::int64_t Poller::clock_said(std::int64_t low_ns, std::int64_t high_ns) {
  clock_told_ = true;
  const auto news = clock_.add(low_ns, high_ns, sent_, received_);
  if (!news) return 0;
  if (sinks_.note) sinks_.note("clock", to_event(*news, name_, spec_.address));
  const auto before = std::exchange(zero_there_, news->zero_ns);
  return news->stepped ? news->zero_ns - before : 0;
}

void Poller::no_clock(const std::string& why) {
  if (std::exchange(clock_told_, true) || !sinks_.note) return;
  sinks_.note("clock", unknown_clock(name_, spec_.address, why));
}

void Poller::restarted() {
  if (sinks_.note) sinks_.note("alert.restart", {{"source", name_}, {"address", spec_.address}});
}

std::int64_t Poller::since_last_look_ns() const {
  return last_good_ ? monotonic_clock_ns() - last_good_ : 0;
}

AlertEvent Poller::event_of(const std::map<std::string, std::string>& labels, const std::string& fingerprint,
                            AlertState state, std::int64_t since_ns) const {
  AlertEvent event;
  event.source = name_;
  event.address = spec_.address;
  event.state = state;
  event.labels = labels;
  if (auto name_label = labels.find("alertname"); name_label != labels.end())
    event.alert = name_label->second;
  event.fingerprint = fingerprint;
  event.since_ns = since_ns;
  event.seen_ns = wall_clock_ns();
  event.gap_ns = since_last_look_ns();
  return event;
}

void Poller::health(const std::string& error) {
  if (told_ && error == last_error_ && blind_ == last_blind_) return;
  told_ = true;
  last_error_ = error;
  last_blind_ = blind_;
  if (sinks_.health) sinks_.health({name_, spec_.address, error.empty(), error, blind_});
}

void Poller::ended(const std::string& error) {
  looking_ = false;
  // A look counts from when it was asked: what happened since then it may not show.
  if (error.empty()) last_good_ = looked_;
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
