// network.partition of many peers, beside many rules of others, and of names whose addresses change.
#include "injector/host/netlink/links.hpp"
#include "tests/kernel/partition_under_test.hpp"

namespace squall {
namespace {

using namespace testing;

TEST_F(NetworkPartition, nothing_is_left_after_the_undo) {
  const auto before = snapshot_host();
  for (auto* mode : {"drop", "reject"}) {
    auto off = partition({{"mode", mode}});
    off.apply();
    EXPECT_NE(differences(before, snapshot_host()), std::vector<std::string>{});
    EXPECT_EQ(off.undo(), "");
    EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
  }
}

TEST_F(NetworkPartition, of_a_device_that_vanishes_is_no_verified_dose) {
  const auto before = snapshot_host();
  const auto make = [] {
    shell(
        "ip link add sqc type veth peer name sqd && ip link set sqd up && ip addr add 10.98.0.1/24 dev sqc "
        "&& ip link set sqc up && ip neigh add 10.98.0.2 lladdr 02:00:00:00:00:01 dev sqc");
  };
  for (auto* mode : {"drop", "reject"}) {
    make();
    auto off = partition({{"mode", mode}}, "sqc");
    off.apply();
    shell("ping -c 2 -i 0.1 -W 0.1 10.98.0.2 >/dev/null 2>&1 || true");
    EXPECT_TRUE(off->measure().verified) << off->measure().reason;
    shell("ip link delete sqc");
    const auto dose = off->measure();
    EXPECT_FALSE(dose.verified);
    EXPECT_TRUE(dose.reason.starts_with("sqc was found gone at ")) << dose.reason;
    EXPECT_EQ(off->events().size(), 1U);
    // Rules on a device are put on another one of its name by Linux 6.16 and later.
    make();
    const auto sent = links::traffic(links::find("sqc")->index).sent;
    shell("ping -c 2 -i 0.1 -W 0.1 10.98.0.2 >/dev/null 2>&1 || true");
    EXPECT_GE(links::traffic(links::find("sqc")->index).sent - sent, 2U) << mode;
    EXPECT_EQ(off->measure().measured, dose.measured);
    EXPECT_EQ(off.undo(), "");
    shell("ip link delete sqc");
  }
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_F(NetworkPartition, a_hundred_peers_are_cut_off) {
  boost::json::array peers;
  for (int i = 0; i < 99; ++i)
    peers.emplace_back(fmt::format("10.{}.0.0/16", i));
  peers.emplace_back("10.99.0.2");
  auto off = partition({{"to", peers}});
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
}

TEST_F(NetworkPartition, thousands_of_peers_are_cut_off_and_not_all_of_them_are_told) {
  for (auto* mode : {"drop", "reject"}) {
    boost::json::array peers;
    for (int i = 0; i < 1500; ++i)
      peers.emplace_back(fmt::format("10.98.{}.{}", i / 250, i % 250));
    for (int i = 0; i < 1100; ++i)
      peers.emplace_back(fmt::format("fd98::{:x}", i));
    for (int i = 0; i < 600; ++i)
      peers.emplace_back(fmt::format("10.{}.{}.0/24", 100 + i / 200, i % 200));
    for (auto* last : {"10.99.0.2", "10.99.0.2", "fd99::2"})
      peers.emplace_back(last);
    auto off = partition({{"to", peers}, {"mode", mode}, {"protocol", "tcp"}});
    EXPECT_NE(off->targets().back().find(
                  "10.98.0.0 or 10.98.0.1 or 10.98.0.2 or 10.98.0.3 or others, 3203 peers in all"),
              std::string::npos)
        << off->targets().back();
    off.apply();
    EXPECT_EQ(connect_error("10.99.0.2", port), mode == std::string("drop") ? ETIMEDOUT : ECONNREFUSED);
    EXPECT_EQ(answered("10.99.0.2", port), 20U);
  }
}

TEST_F(NetworkPartition, many_devices_are_cut_off) {
  testing::shell(
      "for i in $(seq 1 70); do echo \"link add name sqm$i type veth peer name sqn$i\"; echo \"link set "
      "sqm$i up\"; done | ip -batch -");
  auto off = partition({}, "any");
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
  EXPECT_TRUE(off->measure().verified);
  EXPECT_EQ(off.undo(), "");
  RunFault late{"network.delay", {{"delay", "1ms"}, {"mechanism", "userland"}}, {{"interface", "any"}}};
  late.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 20U);
}

// A host's own rules, thousands of them, in the families of ours.
void add_foreign_rules(unsigned count) {
  for (auto family : {nft::Family::inet, nft::Family::netdev}) {
    static std::vector<std::unique_ptr<netlink::Socket>> owners;
    owners.push_back(std::make_unique<netlink::Socket>(NETLINK_NETFILTER));
    netlink::Messages messages;
    nft::begin_batch(messages);
    nft::add_table(messages, family, "others");
    const nft::Chain chain{family, "others", "hold-out"};
    nft::add_chain(messages, chain);
    for (unsigned i = 0; i < count; ++i)
      nft::Rule{messages, chain}.count().drop();
    nft::end_batch(messages);
    netlink::must(*owners.back(), messages);
  }
}

TEST_F(NetworkPartition, its_measuring_costs_no_more_where_others_have_many_rules) {
  auto off = partition({});
  off.apply();
  EXPECT_EQ(answered("10.99.0.2", port), 0U);
  const auto cost = [&] {
    const auto begin = std::clock();
    for (int i = 0; i < 20; ++i)
      EXPECT_TRUE(off->measure().verified);
    EXPECT_FALSE(nft::table_exists(nft::Family::inet, "nobody's"));
    return std::clock() - begin;
  };
  const auto before = cost();
  add_foreign_rules(10'000);
  EXPECT_TRUE(nft::table_exists(nft::Family::inet, "others"));
  EXPECT_LT(cost(), 5 * before + CLOCKS_PER_SEC / 20);
}

using Clock = std::chrono::steady_clock;
using std::chrono_literals::operator""s, std::chrono_literals::operator""ms;

// Looks for events as the injector does, four times a second, until it is enough; all that were told.
std::vector<FaultEvent> events_until(std::vector<Fault*> faults, std::chrono::seconds patience,
                                     const std::function<bool(const std::vector<FaultEvent>&)>& enough) {
  std::vector<FaultEvent> out;
  for (const auto until = Clock::now() + patience; !enough(out) && Clock::now() < until;
       std::this_thread::sleep_for(250ms))
    for (auto* fault : faults)
      for (auto& event : fault->events())
        out.push_back(std::move(event));
  return out;
}

TEST_F(NetworkPartition, a_name_whose_addresses_change_is_cut_off_at_all_it_had) {
  network.at_the_other_end([] { testing::shell("ip addr add 10.97.0.3/24 dev sqb"); });
  testing::shell("ip addr add 10.97.0.1/24 dev sqa");
  testing::OwnNames names{"10.99.0.2 peer.test\n"};
  const auto before = snapshot_host();
  const boost::json::array peer{"peer.test"};
  auto leaving = partition({{"to", peer}, {"direction", "out"}, {"port", {port}}, {"protocol", "udp"}});
  auto arriving = partition({{"to", peer}, {"direction", "in"}, {"port", {other_port}}});
  auto told = partition({{"to", peer}, {"mode", "reject"}, {"protocol", "tcp"}});
  const auto limits = leaving->limits();
  EXPECT_TRUE(std::any_of(limits.begin(), limits.end(), [](auto& text) {
    return text.starts_with("\"peer.test\" is looked up again every 5 s");
  }));
  for (auto* fault : {&leaving, &arriving, &told})
    fault->apply();
  const auto cut_off = [&](const char* address) {
    EXPECT_EQ(answered(address, port), 0U) << address;
    EXPECT_EQ(answered(address, other_port), 0U) << address;
  };
  cut_off("10.99.0.2");
  EXPECT_EQ(connect_error("10.99.0.2", port), ECONNREFUSED);
  for (auto* address : {"10.97.0.3", "fd99::2"})
    for (auto number : {port, other_port})
      EXPECT_EQ(answered(address, number), 20U) << address;
  EXPECT_EQ(connect_error("10.97.0.3", port, 3000), 0);

  // Another address, one of the other family, and the first one is gone.
  names.become("10.97.0.3 peer.test\nfd99::2 peer.test\n");
  unsigned slipped = 0;
  const auto events =
      events_until({&leaving.fault(), &arriving.fault(), &told.fault()}, 60s, [&](auto& seen) {
        const auto through = ping("10.99.0.2", port, 5, 500, 10);
        slipped += through.sent - through.lost();
        return seen.size() >= 3;
      });
  EXPECT_EQ(slipped, 0U) << "what is cut off stays so";
  ASSERT_EQ(events.size(), 3U);
  for (auto& event : events) {
    EXPECT_EQ(event.event, "partition.addresses");
    EXPECT_EQ(event.with.at("name").as_string(), "peer.test");
    auto added = boost::json::value_to<std::vector<std::string>>(event.with.at("added"));
    std::sort(added.begin(), added.end());
    EXPECT_EQ(added, (std::vector<std::string>{"10.97.0.3", "fd99::2"}));
  }
  for (auto* address : {"10.99.0.2", "10.97.0.3", "fd99::2"})
    cut_off(address);
  for (auto* address : {"10.99.0.2", "10.97.0.3"})
    EXPECT_EQ(connect_error(address, port), ECONNREFUSED);
  for (auto* fault : {&leaving, &arriving, &told})
    EXPECT_TRUE((*fault)->measure().verified);

  for (auto* fault : {&leaving, &arriving, &told})
    EXPECT_EQ(fault->undo(), "");
  auto left = differences(before, snapshot_host());
  std::erase_if(left, [](auto& text) { return text.starts_with("mount /etc/hosts "); });  // the names'
  EXPECT_EQ(left, std::vector<std::string>{});
  for (auto* address : {"10.99.0.2", "10.97.0.3", "fd99::2"})
    for (auto number : {port, other_port})
      EXPECT_EQ(answered(address, number), 20U) << address;
  EXPECT_EQ(connect_error("10.97.0.3", port, 3000), 0);
}

TEST_F(NetworkPartition, a_name_that_is_not_known_any_more_is_told_once_and_nobody_waits_for_it) {
  // A name server that says nothing: every look-up takes 4 s and more to fail.
  Fd silent;
  network.at_the_other_end([&] {
    testing::shell("ip addr add 10.97.0.3/24 dev sqb");
    silent = Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto address = at("10.99.0.2", 53);
    ASSERT_EQ(::bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  });
  // Of each look-up two, for A and AAAA; the search list gives the name another end.
  unsigned queries = 0;
  const auto count = [&] {
    char query[512];
    for (ssize_t size; (size = ::recv(silent.get(), query, sizeof query, MSG_DONTWAIT)) > 0;)
      queries += std::string_view{query, static_cast<std::size_t>(size)}.find(
                     std::string_view{"\4peer\4test\0", 11}) != std::string_view::npos;
    return queries;
  };
  testing::shell("ip addr add 10.97.0.1/24 dev sqa");
  testing::OwnNames names{"10.97.0.3 peer.test\n",
                          "nameserver 10.99.0.2\nsearch invalid\noptions timeout:4 attempts:1\n"};
  auto off = partition({{"to", {"peer.test"}}});
  off.apply();
  names.become("127.0.0.1 localhost\n");
  auto longest = Clock::duration::zero();
  std::vector<FaultEvent> events;
  for (const auto until = Clock::now() + 120s; count() < 5 && Clock::now() < until;
       std::this_thread::sleep_for(50ms)) {
    const auto start = Clock::now();
    for (auto& event : off->events())
      events.push_back(std::move(event));
    longest = std::max(longest, Clock::now() - start);
  }
  EXPECT_GE(queries, 5U) << "the third look-up";
  ASSERT_EQ(events.size(), 1U) << "two have failed";
  EXPECT_EQ(events[0].event, "partition.lookup_failed");
  EXPECT_EQ(events[0].with.at("name").as_string(), "peer.test");
  EXPECT_EQ(answered("10.97.0.3", port), 0U) << "what is there is kept";
  // The third look-up is on its way.
  const auto start = Clock::now();
  EXPECT_EQ(off.undo(), "");
  longest = std::max(longest, Clock::now() - start);
  EXPECT_LT(longest, 3s);
  EXPECT_EQ(answered("10.97.0.3", port), 20U);
}

}  // namespace
}  // namespace squall
