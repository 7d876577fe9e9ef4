// When the engine lets packets go and what it tells of that, and who notices that it hangs. With sources of
// the test's own.
#include "injector/host/packets/packet_engine.hpp"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <tuple>

#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "injector/host/packets/engine_watch.hpp"

namespace squall {
namespace {

// Hands over what the test gives it, and tells what became of it.
class GivenSource : public PacketSource {
 public:
  struct Gone {
    std::uint32_t id = 0;
    std::int64_t at = 0;
    bool discarded = false, copy = false;
    std::string bytes;
  };
  struct Told {
    std::mutex mutex;
    std::vector<HeldPacket> given;
    std::vector<Gone> gone;
    bool header_is_checked = false, stamps = true;
    std::int64_t busy_ns = 0;      // that each one takes to send
    std::atomic<int> blocked = 0;  // flushes that do not let what is gathered go
    Fd event{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};

    void give(HeldPacket&& packet) {
      std::lock_guard lock{mutex};
      given.push_back(std::move(packet));
    }
    void ring() {
      const std::uint64_t one = 1;
      [[maybe_unused]] auto ignored = ::write(event.get(), &one, sizeof one);
    }
    std::vector<Gone> passed(bool discarded = false) {
      std::lock_guard lock{mutex};
      auto out = gone;
      std::erase_if(out, [&](auto& one) { return one.discarded != discarded; });
      return out;
    }
  };

  explicit GivenSource(std::shared_ptr<Told> told) : told_(std::move(told)) {}
  int fd() const override { return told_->event.get(); }
  bool take(const std::function<void(HeldPacket&&)>& keep) override {
    std::uint64_t times = 0;
    [[maybe_unused]] auto ignored = ::read(told_->event.get(), &times, sizeof times);
    std::vector<HeldPacket> given;
    {
      std::lock_guard lock{told_->mutex};
      given.swap(told_->given);
    }
    for (auto& packet : given) {
      packet.source = this;
      if (!told_->stamps) packet.entered = monotonic_ns();
      keep(std::move(packet));
    }
    return false;
  }
  bool let_go(HeldPacket& packet) override { return tell(packet, false); }
  void discard(HeldPacket& packet) override { tell(packet, true); }
  bool flush() override { return told_->blocked <= 0 || told_->blocked-- <= 0; }
  std::uint64_t waiting() override { return 0; }
  std::uint64_t lost() const override { return 0; }
  bool stamps() const override { return told_->stamps; }
  bool header_is_checked() const override { return told_->header_is_checked; }

 private:
  bool tell(const HeldPacket& packet, bool discarded) {
    for (const auto until = monotonic_ns() + told_->busy_ns; monotonic_ns() < until;)
      continue;
    std::lock_guard lock{told_->mutex};
    told_->gone.push_back({packet.id, monotonic_ns(), discarded, packet.copy,
                           packet.frame ? std::string(packet.frame.get(), packet.size) : ""});
    return true;
  }
  std::shared_ptr<Told> told_;
};

HeldPacket packet(std::uint32_t id, std::uint32_t bytes) {
  HeldPacket out;
  out.id = id;
  out.entered = monotonic_ns();
  out.wire_bytes = bytes;
  return out;
}

// An engine with one source, and what the test sees of it.
struct Running {
  explicit Running(const Impairment& what, std::uint64_t seed = 1) : engine(what, seed) {
    engine.add(std::make_unique<GivenSource>(told));
    engine.start();
  }
  // Until so many have gone or were dropped; false where they did not within 20 s.
  bool wait_for(std::size_t count) {
    for (int i = 0; i < 4'000; ++i) {
      {
        std::lock_guard lock{told->mutex};
        if (told->gone.size() >= count) return true;
      }
      ::usleep(5'000);
    }
    return false;
  }

  std::shared_ptr<GivenSource::Told> told = std::make_shared<GivenSource::Told>();
  PacketEngine engine;
};

TEST(PacketEngine, a_rate_far_above_the_traffic_loses_none_of_packets_whose_delays_vary) {
  Impairment what;
  what.delay.delay_ns = 300'000'000;
  what.delay.jitter_ns = 150'000'000;
  what.rate = RateShape{125e6, 1'250'000, 12'500'000};
  Running running{what};
  // A burst of 300 kB on a path of 125 MB/s.
  for (std::uint32_t i = 0; i < 3'000; ++i)
    running.told->give(packet(i, 100));
  running.told->ring();
  ASSERT_TRUE(running.wait_for(3'000));
  EXPECT_EQ(running.told->passed(true).size(), 0U);
  ::usleep(20'000);
  const auto measured = running.engine.measure().of(Way::out);
  EXPECT_EQ(measured.counts.queue_full, 0U);
  EXPECT_EQ(measured.at_full_level.count(), 3'000U);
  EXPECT_NEAR(measured.at_full_level.quantile_ms(0.5), 300, 60);
  EXPECT_NEAR(measured.at_full_level.quantile_ms(0.159), 150, 60);
}

TEST(PacketEngine, many_go_in_groups_and_hardly_before_their_time) {
  Impairment what;
  what.delay.delay_ns = 30'000'000;
  Running running{what};
  // 100,000 a second, all of which are there at once and came one after the other.
  constexpr std::uint32_t count = 5'000;
  std::vector<std::int64_t> entered;
  const auto begin = monotonic_ns() - 20'000'000;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto one = packet(i, 100);
    entered.push_back(one.entered = begin + std::int64_t{i} * 10'000);
    running.told->give(std::move(one));
  }
  running.told->ring();
  ASSERT_TRUE(running.wait_for(count));
  const auto gone = running.told->passed();
  std::vector<std::int64_t> held;
  for (std::uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(gone[i].id, i);
    held.push_back(gone[i].at - entered[i]);
  }
  std::sort(held.begin(), held.end());
  EXPECT_GE(held.front(), what.delay.delay_ns - 401'000)
      << "half of a group, and the time that it takes to send";
  EXPECT_LE(held[count / 2], what.delay.delay_ns + 200'000'000) << "a machine with other work is late";
}

TEST(PacketEngine, tries_again_soon_where_what_is_gathered_cannot_go) {
  Impairment what;
  what.delay.delay_ns = 1'000'000;
  Running running{what};
  running.told->blocked = 20;
  const auto begin = monotonic_ns();
  running.told->give(packet(1, 100));
  running.told->ring();
  // Nothing else comes that would wake it.
  for (int i = 0; i < 10'000 && running.told->blocked > 0; ++i)
    ::usleep(1'000);
  EXPECT_EQ(running.told->blocked, 0);
  EXPECT_LT(monotonic_ns() - begin, 20 * 100'000'000) << "it waits for its next look each time";
  EXPECT_EQ(running.engine.measure().of(Way::out).packets, 1U);
}

// What the engine tells, and what is so, of packets that come faster than its looks, in milliseconds.
std::pair<double, double> told_and_true_delay() {
  Impairment what;
  what.delay.delay_ns = 2'000'000;
  Running running{what};
  running.told->stamps = false;
  running.told->busy_ns = 20'000;
  constexpr std::uint32_t count = 10'000;
  std::vector<std::int64_t> came;
  for (const auto begin = monotonic_ns(); came.size() < count;) {
    if (monotonic_ns() < begin + static_cast<std::int64_t>(came.size()) * 30'000) continue;
    came.push_back(monotonic_ns());
    running.told->give(packet(static_cast<std::uint32_t>(came.size() - 1), 100));
    running.told->ring();
  }
  EXPECT_TRUE(running.wait_for(count));
  std::vector<std::int64_t> held;
  for (auto& one : running.told->passed())
    held.push_back(one.at - came[one.id]);
  std::sort(held.begin(), held.end());
  ::usleep(20'000);
  return {running.engine.measure().of(Way::out).at_full_level.quantile_ms(0.5),
          static_cast<double>(held[held.size() / 2]) / 1e6};
}

TEST(PacketEngine, tells_how_long_packets_were_held_that_lay_unread_for_a_while) {
  // To send what came takes two thirds of the time, in which more comes. On a busy machine packets pile up:
  // then nothing is told of those that do not.
  bool judged = false;
  double told = 0, is = 0;
  for (int attempt = 0; attempt < 8; ++attempt) {
    std::tie(told, is) = told_and_true_delay();
    if (std::abs(told - is) < 0.2) return;
    judged |= is < 4;
  }
  if (!judged) GTEST_SKIP() << "the machine is too busy";
  ADD_FAILURE() << "told are " << told << " ms, and it were " << is;
}

TEST(PacketEngine, a_limited_rate_is_kept_behind_delays_that_vary) {
  Impairment what;
  what.delay.delay_ns = 40'000'000;
  what.delay.jitter_ns = 20'000'000;
  what.rate = RateShape{1e6, 2'000, 1'000'000};
  Running running{what};
  const auto begin = monotonic_ns();
  for (std::uint32_t i = 0; i < 400; ++i)
    running.told->give(packet(i, 1'000));
  running.told->ring();
  ASSERT_TRUE(running.wait_for(400));
  const auto gone = running.told->passed();
  // 400 kB at 1 MB/s, of which 2 kB pass at once; a busy machine is late, with the first ones too, never
  // early.
  EXPECT_GE(gone.back().at - begin, 390'000'000);
  ::usleep(20'000);
  const auto measured = running.engine.measure().of(Way::out);
  EXPECT_NEAR(measured.at_full_level.quantile_ms(0.5), 40, 20) << "what the rate adds is not of the delay";
}

TEST(PacketEngine, each_direction_has_a_rate_and_a_count_of_its_own) {
  Impairment what;
  what.rate = RateShape{1e6, 2'000, 150'000};
  what.loss = LossShape{.every = 2};
  Running running{what};
  // 100 kB remain in either direction, of which 150 may wait there.
  for (std::uint32_t i = 0; i < 400; ++i) {
    auto one = packet(i, 1'000);
    one.way = i % 2 == 0 ? Way::out : Way::in;
    running.told->give(std::move(one));
  }
  running.told->ring();
  ASSERT_TRUE(running.wait_for(400));
  ::usleep(20'000);
  const auto measured = running.engine.measure();
  for (const auto way : {Way::out, Way::in}) {
    EXPECT_EQ(measured.of(way).counts.losses.came, 200U);
    EXPECT_EQ(measured.of(way).counts.losses.lost, 100U) << "every other one";
    EXPECT_EQ(measured.of(way).counts.queue_full, 0U);
    EXPECT_EQ(measured.of(way).packets, 100U);
  }
}

TEST(PacketEngine, directions_draw_differently_and_again_the_same) {
  Impairment what;
  what.loss = LossShape::independent(0.5);
  auto lost = [&](Way way) {
    Running running{what, 3};
    for (std::uint32_t i = 0; i < 64; ++i) {
      auto one = packet(i, 100);
      one.way = way;
      running.told->give(std::move(one));
    }
    running.told->ring();
    EXPECT_TRUE(running.wait_for(64));
    std::vector<std::uint32_t> out;
    for (auto& one : running.told->passed(true))
      out.push_back(one.id);
    return out;
  };
  EXPECT_EQ(lost(Way::out), lost(Way::out));
  EXPECT_EQ(lost(Way::in), lost(Way::in));
  EXPECT_NE(lost(Way::out), lost(Way::in));
}

TEST(PacketEngine, what_there_is_no_memory_for_passes_at_once_before_those_that_wait) {
  Impairment what;
  what.delay.delay_ns = 20'000'000'000;
  Running running{what};
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto one = packet(i, 60'000);
    one.capacity = PacketEngine::most_held_bytes / 8;
    running.told->give(std::move(one));
  }
  running.told->ring();
  ASSERT_TRUE(running.wait_for(13));
  ::usleep(20'000);
  auto measured = running.engine.measure();
  EXPECT_EQ(measured.overflowed, 13U);
  EXPECT_EQ(measured.of(Way::out).holding, 7U);
  EXPECT_EQ(measured.of(Way::out).at_full_level.count(), 0U);
  running.engine.release();
  measured = running.engine.measure();
  EXPECT_EQ(running.told->passed().size(), 20U);
  EXPECT_EQ(measured.of(Way::out).released, 7U);
  EXPECT_EQ(measured.of(Way::out).packets, 20U);
  EXPECT_EQ(measured.of(Way::out).holding, 0U);
}

TEST(PacketEngine, an_undo_lets_go_in_order_and_not_in_one_burst) {
  Impairment what;
  what.delay.delay_ns = 400'000'000;
  what.rate = RateShape{1e9, 1'000'000, 1'000'000};
  Running running{what};
  const auto now = monotonic_ns();
  for (std::uint32_t i = 0; i < 350; ++i) {
    auto one = packet(i, 100);
    one.entered = now + (std::int64_t{i} - 350) * 1'000'000;
    running.told->give(std::move(one));
  }
  running.told->ring();
  for (int i = 0; i < 1'000 && running.engine.measure().of(Way::out).holding == 0; ++i)
    ::usleep(1'000);
  running.engine.release();
  const auto took = monotonic_ns() - now;
  const auto gone = running.told->passed();
  ASSERT_EQ(gone.size(), 350U);
  for (std::uint32_t i = 0; i < 350; ++i)
    EXPECT_EQ(gone[i].id, i);
  EXPECT_GT(running.engine.measure().of(Way::out).released, 0U);
  // 350 ms of traffic at five times its pace; what a busy machine adds comes on top.
  EXPECT_GT(gone.back().at - gone.front().at, 50'000'000);
  EXPECT_LT(took, 2'000'000'000);
}

TEST(PacketEngine, damages_nothing_before_what_a_kernel_still_checks) {
  Impairment what;
  what.corrupt = 1;
  Running running{what};
  running.told->header_is_checked = true;
  std::string bytes(48, 'x');
  bytes[0] = 0x45;
  auto give = [&](std::size_t size, std::uint32_t id) {
    auto one = packet(id, 62);
    one.size = one.capacity = static_cast<std::uint32_t>(size);
    one.frame = std::make_unique<char[]>(size);
    std::copy_n(bytes.data(), size, one.frame.get());
    running.told->give(std::move(one));
  };
  for (std::uint32_t i = 0; i < 500; ++i)
    give(48, i);
  give(20, 500);  // nothing behind its header
  running.told->ring();
  ASSERT_TRUE(running.wait_for(501));
  for (auto& one : running.told->passed()) {
    EXPECT_EQ(one.bytes.substr(0, 20), bytes.substr(0, 20));
    EXPECT_EQ(one.bytes == bytes.substr(0, one.bytes.size()), one.id == 500) << one.id;
  }
  ::usleep(20'000);
  EXPECT_EQ(running.engine.measure().of(Way::out).counts.corrupted, 500U);
  EXPECT_EQ(running.engine.measure().of(Way::out).counts.losses.came, 501U);
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
  bool flush() override { return true; }
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
  {
    HeldCount gone{name};
  }
  EXPECT_FALSE(HeldCount::take(name));
}

}  // namespace
}  // namespace squall
