// How an engine ends: what it holds goes on, what still comes is taken.
#include "injector/host/packets/packet_engine.hpp"

#include <algorithm>
#include <ctime>

namespace squall {

namespace {

// What is held at the undo follows so many times as fast, and in so long a time at most.
constexpr double release_pace = 5;
constexpr std::int64_t longest_release_ns = 400'000'000, settling_ns = 200'000'000;
constexpr std::int64_t longest_way_ns = 100'000'000;

}  // namespace

// What waits when it is undone follows at a multiple of its own pace: all at once it would be more than the
// buffers of many a receiver take.
void PacketEngine::deliver_all() {
  sample_one_in(1);
  const auto begin = monotonic_ns(), until = begin + longest_release_ns, patience = until + settling_ns;
  const auto first = next_due() == never ? begin : next_due(),
             last = std::max(held_.last_due(), through_.last_due());
  const double faster =
      std::max(release_pace, static_cast<double>(last - first) / static_cast<double>(longest_release_ns));
  // A packet may be on its way into the queue on another processor for a moment: seen empty twice is empty.
  for (int empty = 0; empty < 2 && monotonic_ns() < patience;) {
    while (take())
      continue;
    const auto now = monotonic_ns();
    release_due(now < until ? first + static_cast<std::int64_t>(static_cast<double>(now - begin) * faster)
                            : never);
    std::uint64_t waiting = 0;
    for (auto& source : sources_)
      waiting += source->waiting();
    empty = waiting == 0 && next_due() == never ? empty + 1 : 0;
    const timespec moment{0, next_due() == never ? 15'000 : 100'000};
    if (empty < 2) ::nanosleep(&moment, nullptr);
  }
  release_due(never);
  give_up();
  while (take())
    continue;  // what the kernel said to the last verdicts
}

void PacketEngine::make_way(bool on) {
  making_way_ = on;
  if (!on || !thread_.joinable()) return;
  // One look may have begun before it was asked, the next has not.
  const auto looks = looks_ + 2;
  wait_while([&] { return looks_ < looks || holds(); });
}

void PacketEngine::wait_until_empty() {
  if (!thread_.joinable()) return;
  wait_while([&] {
    return std::any_of(sources_.begin(), sources_.end(),
                       [](auto& source) { return source->waiting() > 0; }) ||
           holds();
  });
}

bool PacketEngine::holds() const {
  std::lock_guard lock{mutex_};
  return measure_.of(Way::out).holding + measure_.of(Way::in).holding > 0;
}

void PacketEngine::wait_while(const std::function<bool()>& still) {
  for (const auto patience = monotonic_ns() + longest_way_ns; still() && monotonic_ns() < patience;) {
    wake();
    const timespec moment{0, 100'000};
    ::nanosleep(&moment, nullptr);
  }
}

// Those behind a limited rate first: they were before the others.
void PacketEngine::release_due(std::int64_t up_to) {
  std::lock_guard lock{mutex_};
  const auto now = monotonic_ns();
  for (bool goes = true; goes;) {
    auto& from = through_.empty() ? held_ : through_;
    if (from.empty() || from.next_due() > up_to) break;
    auto packet = from.take_next();
    const bool early = packet.due > now;
    if (early) packet.full_level = false;
    goes = let_go(packet);
    if (goes)
      measure_.of(packet.way).released += early;
    else
      through_.add(std::move(packet));
  }
  send();
  publish();
}

void PacketEngine::give_up() {
  std::lock_guard lock{mutex_};
  while (next_due() != never) {
    auto packet = through_.empty() ? held_.take_next() : through_.take_next();
    forget(packet);
    ++measure_.lost;
    packet.source->discard(packet);
  }
  send();
  for (auto& source : sources_)
    if (!source->flush()) measure_.lost += source->waiting();
  publish();
}

}  // namespace squall
