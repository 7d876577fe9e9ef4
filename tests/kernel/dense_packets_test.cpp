// So many arriving packets that the packet queue looks at some of them only: the others must wait as long,
// and none be lost.
#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "injector/system/process.hpp"
#include "tests/support/ipv4_address.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using testing::ipv4_address;
using testing::OwnNetwork;
using testing::RunFault;

constexpr std::uint16_t port = 7009;

struct Datagram {
  std::uint64_t number = 0;
  std::int64_t sent = 0, received = 0;
};

// Takes what comes to the namespace it is made in.
class Receiver {
 public:
  Receiver() : socket_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
    const auto at = ipv4_address("0.0.0.0", port);
    const int size = 64 << 20;
    const timeval patience{0, 20'000};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
      throw std::runtime_error("bind a receiver");
    thread_ = std::thread{[this] {
      while (!stop_)
        if (Datagram one; ::recv(socket_.get(), &one, sizeof one, 0) == sizeof one) {
          one.received = monotonic_ns();
          came_.push_back(one);
          ++count_;
        }
    }};
  }
  ~Receiver() { end(); }
  // What came, once so many have, or nothing more for a second.
  const std::vector<Datagram>& wait_for(std::uint64_t all) {
    auto seen = count_.load();
    for (int still = 0; count_ < all && still < 100; still = count_ == seen ? still + 1 : 0, seen = count_)
      ::usleep(10'000);
    end();
    return came_;
  }

 private:
  void end() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  Fd socket_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> count_ = 0;
  std::vector<Datagram> came_;
  std::thread thread_;
};

// What a thread sends from one processor does not overtake what it sends from another.
class OnOneProcessor {
 public:
  OnOneProcessor() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(::sched_getcpu(), &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  ~OnOneProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

class DensePackets : public ::testing::Test {
 protected:
  OwnNetwork network;
  Receiver receiver;
  std::uint64_t sent = 0;

  static RunFault fault(const char* name, boost::json::object with) {
    with["direction"] = "in";
    with["mechanism"] = "userland";
    return RunFault{name, with, {{"interface", "sqa"}}};
  }

  // In a row of 8 each 80 us, from the other end, until so many are sent and `enough`.
  template <class Enough>
  void send(std::uint64_t least, Enough enough) {
    network.at_the_other_end([&] {
      const OnOneProcessor one_processor;
      const Fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
      const auto to = ipv4_address("10.99.0.1", port);
      const auto begin = monotonic_ns();
      for (std::uint64_t row = 0; sent < least || row % 128 != 0 || !enough(); ++row) {
        while (monotonic_ns() < begin + static_cast<std::int64_t>(row) * 80'000)
          continue;
        for (int i = 0; i < 8; ++i) {
          const Datagram one{sent, monotonic_ns(), 0};
          if (::sendto(socket.get(), &one, sizeof one, 0, reinterpret_cast<const sockaddr*>(&to),
                       sizeof to) == sizeof one)
            ++sent;
        }
        if (monotonic_ns() - begin > 8'000'000'000) break;
      }
      // Not a whole number of those of which one is looked at.
      for (int i = 0; i < 3; ++i) {
        const Datagram one{sent, monotonic_ns(), 0};
        if (::sendto(socket.get(), &one, sizeof one, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
            sizeof one)
          ++sent;
      }
    });
  }
  static std::uint64_t interpolated(RunFault& fault) {
    const auto dose = fault->measure();
    return dose.measured.contains("interpolated_packets")
               ? dose.measured.at("interpolated_packets").to_number<std::uint64_t>()
               : 0;
  }
};

void expect_all_in_order(const std::vector<Datagram>& came, std::uint64_t sent) {
  EXPECT_EQ(came.size(), sent);
  for (std::size_t i = 1; i < came.size(); ++i)
    if (came[i].number <= came[i - 1].number) {
      ADD_FAILURE() << "number " << came[i].number << " came after " << came[i - 1].number;
      break;
    }
}

double share_under(const std::vector<Datagram>& came, double milliseconds) {
  const auto under = std::ranges::count_if(
      came, [&](auto& one) { return static_cast<double>(one.received - one.sent) < milliseconds * 1e6; });
  return static_cast<double>(under) / static_cast<double>(came.size());
}

TEST_F(DensePackets, all_wait_and_none_is_lost_though_not_each_is_looked_at) {
  auto delay = fault("network.delay", {{"delay", "20ms"}});
  delay.apply();
  send(20'000, [&] { return interpolated(delay) > 10'000; });
  auto& came = receiver.wait_for(sent);
  ASSERT_GT(interpolated(delay), 10'000U) << "each was looked at: nothing was tested";
  expect_all_in_order(came, sent);
  // Busy machines make packets later, not earlier: a few, where the sender was interrupted, by what it stood
  // still.
  EXPECT_LT(share_under(came, 18), 0.01);
  EXPECT_EQ(share_under(came, 10), 0);
  const auto dose = delay->measure();
  EXPECT_GE(dose.measured.at("packets").to_number<std::uint64_t>(), sent);
  EXPECT_FALSE(dose.measured.contains("lost_packets"));
  EXPECT_EQ(delay.undo(), "");
}

TEST_F(DensePackets, its_share_of_them_is_lost_and_no_other) {
  auto loss = fault("network.impair", {{"loss", "10%"}, {"delay", "2ms"}});
  loss.apply();
  send(20'000, [&] { return interpolated(loss) > 10'000; });
  const auto some = static_cast<double>(receiver.wait_for(sent).size()), all = static_cast<double>(sent);
  ASSERT_GT(interpolated(loss), 10'000U) << "each was looked at: nothing was tested";
  const auto dose = loss->measure();
  // The dose counts by what it decided, the receiver by what came.
  EXPECT_NEAR(100 * (1 - some / all), dose.measured.at("loss_percent").to_number<double>(), 0.01);
  EXPECT_NEAR(some / all, 0.9, 0.02);
}

TEST_F(DensePackets, an_undo_under_them_loses_none) {
  auto delay = fault("network.delay", {{"delay", "50ms"}});
  delay.apply();
  std::string left = "not undone";
  std::uint64_t looked_past = 0;
  std::atomic<bool> done = false;
  std::thread undo{[&] {
    for (int i = 0; i < 140 && (looked_past = interpolated(delay)) < 10'000; ++i)
      ::usleep(50'000);
    left = delay.undo();
    done = true;
  }};
  send(20'000, [&] { return done.load(); });
  undo.join();
  EXPECT_GE(looked_past, 10'000U) << "each was looked at: nothing was tested";
  EXPECT_EQ(left, "");
  auto& came = receiver.wait_for(sent);
  EXPECT_EQ(came.size(), sent);
}

TEST_F(DensePackets, make_way_loses_none) {
  auto delay = fault("network.delay", {{"delay", "50ms"}});
  delay.apply();
  std::atomic<bool> done = false;
  std::uint64_t looked_past = 0;
  std::thread other{[&] {
    for (int i = 0; i < 140 && (looked_past = interpolated(delay)) < 10'000; ++i)
      ::usleep(50'000);
    for (int i = 0; i < 5; ++i) {
      RunFault partition{
          "network.partition", {{"to", boost::json::array{"10.200.0.0/24"}}}, {{"interface", "sqa"}}};
      delay->make_way(true);
      partition.apply();  // what waits meanwhile would come into the queue once more
      delay->make_way(false);
      ::usleep(60'000);  // longer than packets wait: enough of them do
      delay->make_way(true);
      partition.undo();  // whose hooks go: the kernel drops what waits in any queue
      delay->make_way(false);
    }
    done = true;
  }};
  send(20'000, [&] { return done.load(); });
  other.join();
  EXPECT_GE(looked_past, 10'000U) << "each was looked at: nothing was tested";
  EXPECT_EQ(receiver.wait_for(sent).size(), sent);
  EXPECT_EQ(delay.undo(), "");
}

}  // namespace
}  // namespace squall
