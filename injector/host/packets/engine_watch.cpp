#include "injector/host/packets/engine_watch.hpp"

#include <mutex>
#include <set>

#include "injector/host/packets/packet_engine.hpp"

namespace squall {

namespace {

struct Watched {
  std::mutex mutex;
  std::set<const PacketEngine*> engines;
};

Watched& watched() {
  static Watched all;
  return all;
}

}  // namespace

void EngineWatch::add(const PacketEngine* engine) {
  auto& all = watched();
  std::lock_guard lock{all.mutex};
  all.engines.insert(engine);
}

void EngineWatch::remove(const PacketEngine* engine) {
  auto& all = watched();
  std::lock_guard lock{all.mutex};
  all.engines.erase(engine);
}

bool EngineWatch::hangs() {
  auto& all = watched();
  std::lock_guard lock{all.mutex};
  std::map<const PacketEngine*, Seen> now;
  bool hangs = false;
  for (auto* engine : all.engines) {
    auto& last = now[engine];
    last.looks = engine->looks();
    if (const auto before = seen_.find(engine); before != seen_.end() && before->second.looks == last.looks)
      last.still = before->second.still + 1;
    hangs |= last.still >= patience;
  }
  seen_ = std::move(now);
  return hangs;
}

}  // namespace squall
