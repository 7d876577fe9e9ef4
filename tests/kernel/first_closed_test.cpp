// Tables that a process owns through a thread's own descriptors end with it, and not before.
#include <csignal>
#include <filesystem>

#include <sys/wait.h>
#include <unistd.h>

#include <linux/netfilter.h>

#include <gtest/gtest.h>

#include "injector/host/netlink/first_closed.hpp"
#include "injector/host/rules/nftables.hpp"
#include "tests/support/own_network.hpp"

namespace squall {
namespace {

class FirstClosedSocket : public ::testing::Test {
 protected:
  static netlink::Answer add_table(FirstClosed& owner) {
    netlink::Messages messages;
    nft::begin_batch(messages);
    nft::add_table(messages, nft::Family::inet, "sqfirst");
    nft::add_base_chain(messages, {nft::Family::inet, "sqfirst", "in"},
                        {.number = NF_INET_LOCAL_IN, .priority = 0, .device = {}});
    nft::end_batch(messages);
    return owner.exchange(messages);
  }
  static bool table_exists() { return nft::table_exists(nft::Family::inet, "sqfirst"); }
  // Of the calling thread's table.
  static std::size_t sockets() {
    std::size_t count = 0;
    std::error_code none;
    for (auto& entry : std::filesystem::directory_iterator("/proc/thread-self/fd"))
      count += std::filesystem::read_symlink(entry, none).string().starts_with("socket:");
    return count;
  }

  testing::OwnNetwork network;
};

TEST_F(FirstClosedSocket, is_no_descriptor_of_the_other_threads) {
  FirstClosed{netlink::Socket{NETLINK_NETFILTER}}.release();  // what there is once
  const auto before = sockets();
  FirstClosed owner{netlink::Socket{NETLINK_NETFILTER}};
  EXPECT_EQ(sockets(), before);
  ASSERT_TRUE(add_table(owner));
  EXPECT_TRUE(table_exists());
  {
    auto back = owner.release();
    EXPECT_EQ(sockets(), before + 1);
    EXPECT_TRUE(table_exists()) << "it is the same socket";
  }
  EXPECT_FALSE(table_exists());
}

TEST_F(FirstClosedSocket, ends_with_its_object) {
  {
    FirstClosed owner{netlink::Socket{NETLINK_NETFILTER}};
    ASSERT_TRUE(add_table(owner));
  }
  for (int i = 0; i < 2'000 && table_exists(); ++i)
    ::usleep(1'000);
  EXPECT_FALSE(table_exists());
}

TEST_F(FirstClosedSocket, refusals_come_through) {
  FirstClosed owner{netlink::Socket{NETLINK_NETFILTER}}, other{netlink::Socket{NETLINK_NETFILTER}};
  ASSERT_TRUE(add_table(owner));
  EXPECT_EQ(add_table(other).error, EPERM);
}

// The fork has none of the threads of this process, which has the like already.
TEST_F(FirstClosedSocket, ends_with_a_killed_process) {
  FirstClosed ours{netlink::Socket{NETLINK_NETFILTER}};
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    FirstClosed owner{netlink::Socket{NETLINK_NETFILTER}};
    const char added = add_table(owner) ? '+' : '-';
    [[maybe_unused]] auto told = ::write(ready[1], &added, 1);
    for (;;)
      ::pause();
  }
  char added = 0;
  EXPECT_EQ(::read(ready[0], &added, 1), 1);
  EXPECT_EQ(added, '+');
  EXPECT_TRUE(table_exists());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(table_exists());
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace squall
