// The order in which held packets leave.
#include "injector/host/packets/held_packets.hpp"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

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
  // More than its line takes at first; most in order, some overtake, some come back because they could not
  // go.
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

TEST(HeldPackets, know_who_goes_by_a_time) {
  HeldPackets held;
  EXPECT_EQ(held.last_due_by(100), 0);
  std::uint64_t order = 0;
  for (const std::int64_t due : {10, 20, 20, 40})
    held.add(due_at(due, ++order));
  EXPECT_EQ(held.last_due_by(9), 0);
  EXPECT_EQ(held.last_due_by(10), 10);
  EXPECT_EQ(held.last_due_by(39), 20);
  EXPECT_EQ(held.last_due_by(1000), 40);
  held.add(due_at(15, ++order));  // overtakes
  EXPECT_EQ(held.last_due_by(14), 10);
  EXPECT_EQ(held.last_due_by(39), 39);
}

}  // namespace
}  // namespace squall
