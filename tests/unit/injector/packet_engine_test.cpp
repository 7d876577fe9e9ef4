// The engine's order of packets, and who notices that it hangs. With sources of the test's own.
#include "injector/host/packet_engine.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>

#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace squall {
namespace {

HeldPacket due_at(std::int64_t due, std::uint64_t order) {
  HeldPacket out;
  out.due = due;
  out.order = order;
  return out;
}

TEST(HeldPackets, leave_soonest_first_and_in_the_order_of_arrival_where_two_are_due_at_once) {
  std::mt19937_64 random{11};
  HeldPackets held;
  std::vector<std::pair<std::int64_t, std::uint64_t>> expected;
  // More than its line takes at first; most in order, some overtake, some come back because they could not go.
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    const auto due = static_cast<std::int64_t>(i * 10 - (random() % 8 == 0 ? random() % 5000 : 0));
    expected.emplace_back(due, i);
    held.add(due_at(due, i));
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::pair<std::int64_t, std::uint64_t>> left;
  for (std::size_t turn = 0; !held.empty(); ++turn) {
    const auto next = held.next_due();
    auto packet = held.take_next();
    EXPECT_EQ(packet.due, next);
    if (turn == 100) {
      packet.due = expected[3000].first;
      auto late = expected[100];
      expected.erase(expected.begin() + 100);
      late.first = packet.due;
      expected.insert(std::lower_bound(expected.begin(), expected.end(), late), late);
      held.add(std::move(packet));
    } else {
      left.emplace_back(packet.due, packet.order);
    }
  }
  EXPECT_EQ(left, expected);
}

// Readable, and never done with taking.
class StuckSource : public PacketSource {
 public:
  StuckSource() : event_(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  int fd() const override { return event_.get(); }
  bool take(const std::function<void(HeldPacket&&)>&) override {
    std::unique_lock lock{mutex_};
    freed_.wait(lock, [this] { return free_; });
    std::uint64_t times = 0;
    [[maybe_unused]] auto ignored = ::read(event_.get(), &times, sizeof times);
    return false;
  }
  bool let_go(HeldPacket&) override { return true; }
  void discard(HeldPacket&) override {}
  void flush() override {}
  std::uint64_t waiting() override { return 0; }
  std::uint64_t lost() const override { return 0; }
  void free() {
    std::lock_guard lock{mutex_};
    free_ = true;
    freed_.notify_all();
  }

 private:
  Fd event_;
  std::mutex mutex_;
  std::condition_variable freed_;
  bool free_ = false;
};

TEST(EngineWatch, tells_an_engine_that_hangs_from_one_that_has_nothing_to_do) {
  const auto name = "test" + std::to_string(::getpid());
  EngineWatch watch;
  auto hangs_in = [&](int calls) {
    bool hangs = false;
    for (int i = 0; i < calls; ++i) {
      ::usleep(2 * PacketEngine::look_ms * 1000);
      hangs = watch.hangs();
    }
    return hangs;
  };
  auto source = std::make_unique<StuckSource>();
  auto* stuck = source.get();
  PacketEngine engine{Impairment{}, 1};
  engine.add(std::move(source));
  engine.start();
  EXPECT_FALSE(hangs_in(5)) << "nobody watches it";
  engine.watch(name);
  EXPECT_TRUE(hangs_in(6));
  stuck->free();
  EXPECT_FALSE(hangs_in(1));
  engine.release();
  EXPECT_FALSE(hangs_in(1));
}

TEST(HeldCount, can_be_read_by_whoever_is_left) {
  const auto name = "test-held-" + std::to_string(::getpid());
  EXPECT_FALSE(HeldCount::take(name));
  const pid_t child = ::fork();
  if (child == 0) {
    auto* count = new HeldCount{name};
    count->set(217);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(HeldCount::take(name), 217U);
  EXPECT_FALSE(HeldCount::take(name)) << "once";
  { HeldCount gone{name}; }
  EXPECT_FALSE(HeldCount::take(name));
}

}  // namespace
}  // namespace squall
