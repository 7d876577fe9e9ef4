#include "injector/host/match/name_watch.hpp"

#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace squall {

namespace {

using Clock = std::chrono::steady_clock;

// What a look-up has found; its thread may outlive whoever asked.
class LookUp {
 public:
  void end(NameWatch::Found found) {
    const std::lock_guard lock{mutex_};
    found_ = std::move(found);
  }
  std::optional<NameWatch::Found> take() {
    const std::lock_guard lock{mutex_};
    return std::exchange(found_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::optional<NameWatch::Found> found_;
};

std::shared_ptr<LookUp> start(const std::string& name) {
  auto out = std::make_shared<LookUp>();
  try {
    std::thread{[out, name] {
      auto peers = resolve_peers(name);
      if (peers)
        out->end({name, std::move(*peers), ""});
      else
        out->end({name, {}, peers.error()});
    }}.detach();
  } catch (const std::system_error& e) {
    out->end({name, {}, fmt::format("look up the host \"{}\": {}", name, e.what())});
  }
  return out;
}

}  // namespace

struct NameWatch::Name {
  std::string name;
  Clock::time_point due;
  std::shared_ptr<LookUp> running;
};

NameWatch::NameWatch(const std::vector<std::string>& names) {
  for (auto& name : names)
    names_.push_back({name, Clock::now() + every, nullptr});
}

NameWatch::~NameWatch() = default;

std::vector<NameWatch::Found> NameWatch::look() {
  std::vector<Found> out;
  for (auto& name : names_) {
    if (!name.running) {
      if (Clock::now() >= name.due) name.running = start(name.name);
      continue;
    }
    auto found = name.running->take();
    if (!found) continue;
    out.push_back(std::move(*found));
    name.running.reset();
    name.due = Clock::now() + every;
  }
  return out;
}

}  // namespace squall
