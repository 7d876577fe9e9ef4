// The set of a proxy's sockets, with socketpairs.
#include <functional>
#include <memory>
#include <string>

#include <sys/socket.h>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "injector/proxy/readiness.hpp"

namespace squall {
namespace {

using proxy::Readiness, proxy::Socket, proxy::SocketOwner;

struct Owner : SocketOwner, std::enable_shared_from_this<Owner> {
  explicit Owner(Readiness& set) : socket(set, *this) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    socket.open(Fd{ends[0]});
    peer = Fd{ends[1]};
    socket.watch();
  }
  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }
  void ready(Socket&) override {
    ++times;
    if (act) act();
  }
  void say(const std::string& text) {
    ASSERT_EQ(::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  std::string read(std::size_t most = 100) {
    std::string out(most, '\0');
    const auto got = socket.read(out.data(), most);
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
  }
  Socket socket;
  Fd peer;
  std::function<void()> act;
  int times = 0;
};

class ReadinessTest : public ::testing::Test {
 protected:
  // Whatever can happen now has happened.
  void settle() {
    io.restart();
    while (io.poll() > 0) {
    }
  }
  boost::asio::io_context io{1};
  Readiness set{io};
};

TEST_F(ReadinessTest, is_told_once_until_something_else_comes) {
  const auto one = std::make_shared<Owner>(set);
  settle();
  EXPECT_EQ(one->times, 0);
  one->say("a");
  settle();
  settle();
  EXPECT_EQ(one->times, 1);
  EXPECT_EQ(one->read(), "a");
  EXPECT_FALSE(one->socket.readable());
  one->say("b");
  settle();
  EXPECT_EQ(one->times, 2);
  EXPECT_EQ(one->read(1), "b");
  EXPECT_TRUE(one->socket.readable()) << "as much as was asked for: there may be more";
  EXPECT_EQ(one->read(1), "");
  EXPECT_FALSE(one->socket.readable());
}

TEST_F(ReadinessTest, the_end_behind_the_last_bytes_is_found) {
  const auto one = std::make_shared<Owner>(set);
  one->say("last");
  one->peer.reset();
  settle();
  EXPECT_EQ(one->read(), "last");
  EXPECT_TRUE(one->socket.readable());
  const auto another = std::make_shared<Owner>(set);
  another->say("last");
  settle();
  another->peer.reset();
  EXPECT_EQ(another->read(), "last");
  settle();
  EXPECT_EQ(another->times, 2);
  EXPECT_TRUE(another->socket.readable());
}

TEST_F(ReadinessTest, what_was_left_is_told_again_after_the_others) {
  const auto greedy = std::make_shared<Owner>(set), other = std::make_shared<Owner>(set);
  std::string order;
  greedy->act = [&] {
    order += 'g';
    if (!greedy->read(1).empty() && greedy->socket.readable()) set.again(greedy->socket);
  };
  other->act = [&] { order += 'o'; };
  greedy->say("xxx");
  other->say("y");
  settle();
  EXPECT_EQ(order.substr(0, 3), "gog");
  EXPECT_EQ(order.size(), 5U);
}

TEST_F(ReadinessTest, who_is_closed_meanwhile_is_not_told_nor_taken_for_another) {
  auto first = std::make_shared<Owner>(set);
  auto second = std::make_shared<Owner>(set);
  std::shared_ptr<Owner> third;
  first->say("a");
  second->say("b");
  auto close = [&](std::shared_ptr<Owner>& victim) {
    return [&] {
      victim->socket.close();
      third = std::make_shared<Owner>(set);  // has the place that has become free
    };
  };
  first->act = close(second);
  second->act = close(first);
  settle();
  EXPECT_EQ(first->times + second->times, 1);
  EXPECT_EQ(third->times, 0);
}

TEST_F(ReadinessTest, room_to_write_is_told_when_it_is_wanted) {
  const auto one = std::make_shared<Owner>(set);
  const std::string much(1 << 16, 'x');
  while (::send(one->socket.fd(), much.data(), much.size(), MSG_NOSIGNAL) > 0) {
  }
  settle();
  EXPECT_EQ(one->times, 0);
  one->socket.watch(true);
  settle();
  EXPECT_FALSE(one->socket.writable());
  std::string into(1 << 20, '\0');
  while (::recv(one->peer.get(), into.data(), into.size(), MSG_DONTWAIT) > 0) {
  }
  settle();
  EXPECT_TRUE(one->socket.writable());
}

TEST_F(ReadinessTest, keeps_nobody_running_when_all_are_closed) {
  const auto one = std::make_shared<Owner>(set);
  one->act = [&] { one->socket.close(); };
  one->say("a");
  io.run();  // or the test takes for ever
  EXPECT_EQ(one->times, 1);
}

}  // namespace
}  // namespace squall
