#include "injector/faults/aim/successors.hpp"

#include <gtest/gtest.h>

namespace squall::faults {
namespace {

constexpr std::int64_t ms = 1'000'000;

Process process(pid_t pid, const std::string& command = "worker") {
  Process out;
  out.pid = pid;
  out.start_ticks = static_cast<std::uint64_t>(pid);
  out.command = command;
  return out;
}

TEST(Successors, stand_in_for_the_one_that_died_first) {
  Successors all;
  all.know({process(1), process(2)});
  all.died(process(1), 100 * ms, 100 * ms);
  all.died(process(2), 200 * ms, 200 * ms);
  EXPECT_EQ(all.seen(process(11), {300 * ms, 300 * ms})->victim.pid, 1);
  EXPECT_EQ(all.seen(process(12), {400 * ms, 400 * ms})->victim.pid, 2);
  EXPECT_FALSE(all.missing());
  for (auto& pair : all.pairs())
    EXPECT_EQ(pair.after_ns, 200 * ms);
}

// Killed again and again: who stood in for one that died does not stay unknown until another has died.
TEST(Successors, are_victims_later_and_have_their_own) {
  Successors all;
  all.know({process(1)});
  for (pid_t pid = 1; pid < 5; ++pid) {
    all.died(process(pid), pid * 1000 * ms, pid * 1000 * ms);
    const auto pair = all.seen(process(pid + 1), {(pid * 1000 + 2) * ms, (pid * 1000 + 2) * ms});
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->victim.pid, pid);
    EXPECT_EQ(pair->after_ns, 2 * ms);
  }
}

TEST(Successors, are_of_the_same_kind_where_there_is_one) {
  Successors all;
  all.know({process(1, "gives up"), process(2, "comes back")});
  all.died(process(1, "gives up"), 100 * ms, 100 * ms);
  all.died(process(2, "comes back"), 5000 * ms, 5000 * ms);
  const auto pair = all.seen(process(12, "comes back"), {5010 * ms, 5010 * ms});
  EXPECT_EQ(pair->victim.pid, 2);
  EXPECT_EQ(pair->after_ns, 10 * ms);
  EXPECT_TRUE(all.missing());
}

TEST(Successors, are_nobody_who_was_there_or_came_before) {
  Successors all;
  all.know({process(1), process(2)});
  all.died(process(1), 100 * ms, 100 * ms);
  EXPECT_FALSE(all.seen(process(2), {200 * ms, 200 * ms}));
  EXPECT_FALSE(all.seen(process(3), {50 * ms, 50 * ms}));
  EXPECT_TRUE(all.missing());
}

// Of a death that is seen late, the successor may be seen first.
TEST(Successors, may_have_begun_before_the_death_was_seen_but_not_before_the_blow) {
  Successors all;
  all.died(process(1), 100 * ms, 103 * ms);
  EXPECT_FALSE(all.seen(process(2), {99 * ms, 99 * ms}));
  const auto pair = all.seen(process(3), {102 * ms, 102 * ms});
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->after_ns, 0);
}

TEST(Successors, that_nobody_saw_come_came_within_a_time) {
  Successors all;
  all.died(process(1), 100 * ms, 100 * ms);
  const auto pair = all.seen(process(2), {90 * ms, 180 * ms});
  EXPECT_EQ(pair->after_ns, 80 * ms);
  EXPECT_EQ(pair->within_ns, 80 * ms);
}

}  // namespace
}  // namespace squall::faults
