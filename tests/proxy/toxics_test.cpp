// What each toxic does to real connections, and what it does not.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "tests/proxy/toxics_under_test.hpp"

namespace squall {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using proxy::Stream;
using proxy::Toxic;
using proxy::ToxicType;
using Clock = std::chrono::steady_clock;

TEST_F(Toxics, without_any_bytes_pass_unchanged_and_the_end_too) {
  const auto sent = noise(32 << 20);
  Client client{proxy.port()};
  std::thread sender{[&] {
    client.send(sent);
    client.send_no_more();
  }};
  const auto got = client.rest();
  sender.join();
  EXPECT_TRUE(got == sent) << got.size() << " of " << sent.size() << " bytes";
  const auto seen = proxy.statistics();
  EXPECT_EQ(seen.up.received_bytes, sent.size());
  EXPECT_EQ(seen.up.sent_bytes, sent.size());
  EXPECT_EQ(seen.down.sent_bytes, sent.size());
  EXPECT_EQ(seen.connections, 1U);
}

TEST_F(Toxics, latency_comes_and_goes_on_a_live_connection) {
  Client client{proxy.port()};
  const auto base = round_trip_ms(client);
  proxy.toxics({latency(100)});
  EXPECT_NEAR(round_trip_ms(client) - base, 100, 10);
  proxy.toxics({latency(50), latency(70, Stream::upstream)});
  EXPECT_NEAR(round_trip_ms(client) - base, 120, 15);
  proxy.toxics({});
  EXPECT_LT(round_trip_ms(client), base + 20);
}

TEST_F(Toxics, jitter_spreads_around_the_latency) {
  auto spread = latency(20);
  spread.jitter_ms = 20;
  proxy.toxics({spread});
  Client client{proxy.port()};
  std::vector<double> all;
  for (int i = 0; i < 60; ++i)
    all.push_back(round_trip_ms(client, 1));
  std::sort(all.begin(), all.end());
  EXPECT_LT(all[6], 12);
  EXPECT_GT(all[54], 28);
}

TEST_F(Toxics, latency_counts_from_the_arrival_also_where_the_proxy_is_busy) {
  proxy.toxics({latency(40, Stream::upstream)});
  Client client{proxy.port()};
  round_trip_ms(client, 1);
  double least = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto begin = Clock::now();
    proxy.with([&](auto&) {
      client.send("ping");
      std::this_thread::sleep_for(30ms);  // as long as others have its CPU
      return 0;
    });
    EXPECT_EQ(client.bytes(4), "ping");
    least = std::min(least, milliseconds_since(begin));
  }
  EXPECT_GE(least, 40);
  EXPECT_LT(least, 65);  // 70 from when it was read
}

TEST_F(Toxics, latency_does_not_limit_the_rate) {
  proxy.toxics({latency(100)});
  const auto sent = noise(8 << 20);
  Client client{proxy.port()};
  const auto begin = Clock::now();
  std::thread sender{[&] { client.send(sent); }};
  EXPECT_TRUE(client.bytes(sent.size()) == sent);
  sender.join();
  EXPECT_LT(milliseconds_since(begin), 2000);  // in windows of 64 KiB it would be 13 s
}

TEST_F(Toxics, bandwidth_lets_so_much_through) {
  auto thin = toxic(ToxicType::bandwidth);
  thin.rate_kb = 500;
  proxy.toxics({thin});
  const auto sent = noise(500'000);
  Client client{proxy.port()};
  const auto begin = Clock::now();
  std::thread sender{[&] { client.send(sent); }};
  EXPECT_TRUE(client.bytes(sent.size()) == sent);
  const auto took = milliseconds_since(begin);
  sender.join();
  EXPECT_GT(took, 850);
  EXPECT_LT(took, 1600);
}

TEST_F(Toxics, a_bandwidth_of_zero_lets_nothing_through_until_it_changes) {
  proxy.toxics({toxic(ToxicType::bandwidth)});
  Client client{proxy.port()};
  client.send("ping");
  EXPECT_TRUE(client.silent(300));
  auto thin = toxic(ToxicType::bandwidth);
  thin.rate_kb = 100;
  proxy.toxics({thin});
  EXPECT_EQ(client.bytes(4), "ping");
}

TEST_F(Toxics, slow_close_holds_the_end_back) {
  auto slow = toxic(ToxicType::slow_close);
  slow.delay_ms = 300;
  proxy.toxics({slow});
  Client client{proxy.port()};
  EXPECT_LT(round_trip_ms(client), 200);
  const auto begin = Clock::now();
  client.send_no_more();
  EXPECT_EQ(client.rest(), "");
  EXPECT_GT(milliseconds_since(begin), 290);
}

TEST_F(Toxics, timeout_swallows_and_closes) {
  auto closing = toxic(ToxicType::timeout);
  closing.timeout_ms = 300;
  Client client{proxy.port()};
  round_trip_ms(client);
  const auto begin = Clock::now();
  proxy.toxics({closing});
  client.send("lost");
  EXPECT_EQ(client.rest(), "");
  EXPECT_GT(milliseconds_since(begin), 290);
  EXPECT_EQ(proxy.statistics().down.discarded_bytes, 4U);
}

TEST_F(Toxics, timeout_of_zero_closes_when_it_goes) {
  Client client{proxy.port()};
  round_trip_ms(client);
  proxy.toxics({toxic(ToxicType::timeout)});
  client.send("lost");
  EXPECT_TRUE(client.silent(300));
  proxy.toxics({});
  EXPECT_EQ(client.rest(), "");
  EXPECT_EQ(client.error, 0);
}

TEST_F(Toxics, reset_peer_resets_old_connections_too) {
  Client client{proxy.port()};
  round_trip_ms(client);
  auto reset = toxic(ToxicType::reset_peer);
  reset.timeout_ms = 100;
  proxy.toxics({reset});
  const auto begin = Clock::now();
  client.send("ping");
  EXPECT_EQ(client.rest(), "");
  EXPECT_EQ(client.error, ECONNRESET);
  EXPECT_GT(milliseconds_since(begin), 95);
  EXPECT_EQ(proxy.statistics().reset, 1U);
}

TEST_F(Toxics, a_client_that_resets_by_itself_is_none_that_a_toxic_reset) {
  auto reset = toxic(ToxicType::reset_peer);
  reset.timeout_ms = 60'000;
  proxy.toxics({reset});
  Client client{proxy.port()};
  client.send("ping");
  client.reset();
  while (proxy.statistics().open || !proxy.statistics().connections)
    std::this_thread::sleep_for(5ms);
  EXPECT_EQ(proxy.statistics().hit, 1U);
  EXPECT_EQ(proxy.statistics().reset, 0U);
}

TEST_F(Toxics, a_download_that_its_client_breaks_off_discards_nothing) {
  Upstream sends{[](Client& client) { client.send(noise(16 << 20)); }};
  ProxyUnderTest between{sends.port()};
  Client client{between.port()};
  EXPECT_EQ(client.bytes(1000).size(), 1000U);
  // Until the proxy holds what the client does not read.
  for (auto seen = between.statistics(); seen.down.received_bytes == seen.down.sent_bytes;
       seen = between.statistics())
    std::this_thread::sleep_for(5ms);
  client.reset();
  while (between.statistics().open)
    std::this_thread::sleep_for(5ms);
  EXPECT_EQ(between.statistics().down.discarded_bytes, 0U);
}

TEST_F(Toxics, a_reset_that_is_taken_back_in_time_does_not_come) {
  Client client{proxy.port()};
  round_trip_ms(client);
  auto reset = toxic(ToxicType::reset_peer);
  reset.timeout_ms = 10'000;
  proxy.toxics({reset});
  client.send("ping");
  EXPECT_TRUE(client.silent(200));
  proxy.toxics({});
  EXPECT_EQ(client.bytes(4), "ping");
}

TEST_F(Toxics, slicer_cuts_into_small_pieces) {
  auto slicer = toxic(ToxicType::slicer);
  slicer.average_size = 100;
  slicer.size_variation = 50;
  slicer.delay_us = 2000;
  proxy.toxics({slicer});
  Client client{proxy.port()};
  const auto sent = noise(5000);
  client.send(sent);
  std::string got;
  std::size_t reads = 0;
  for (; got.size() < sent.size(); ++reads) {
    const auto part = client.some();
    ASSERT_FALSE(part.empty());
    got += part;
  }
  EXPECT_TRUE(got == sent);
  EXPECT_GT(reads, 15U);  // of 50, where a busy reader finds several at once
  EXPECT_GE(proxy.statistics().down.cuts, 5000U / 150 - 2);
}

TEST_F(Toxics, slicer_cuts_nothing_that_is_small) {
  auto slicer = toxic(ToxicType::slicer);
  slicer.average_size = 64'000;
  proxy.toxics({slicer});
  Client client{proxy.port()};
  round_trip_ms(client);
  EXPECT_GE(proxy.statistics().down.pieces, 5U);
  EXPECT_EQ(proxy.statistics().down.cuts, 0U);
}

TEST_F(Toxics, limit_data_closes_after_so_many_bytes) {
  auto limit = toxic(ToxicType::limit_data);
  limit.bytes = 1000;
  proxy.toxics({limit});
  Client client{proxy.port()};
  const auto sent = noise(5000);
  client.send(sent.substr(0, 600));
  EXPECT_TRUE(client.bytes(600) == sent.substr(0, 600));
  client.send(sent.substr(600));
  EXPECT_TRUE(client.rest() == sent.substr(600, 400));
}

TEST_F(Toxics, the_largest_attributes_overflow_nothing) {
  std::vector<Toxic> all;
  for (auto type : {ToxicType::latency, ToxicType::bandwidth, ToxicType::slicer, ToxicType::slow_close,
                    ToxicType::limit_data, ToxicType::reset_peer, ToxicType::timeout})
    for (auto* number : {"9223372036854775807", "-9223372036854775808"}) {
      auto one = toxic(type, Stream::upstream);
      boost::json::object attributes;
      for (auto* name :
           {"latency", "jitter", "rate", "delay", "timeout", "average_size", "size_variation", "bytes"})
        attributes[name] = boost::json::parse(number);
      ASSERT_TRUE(read_attributes(attributes, one));
      proxy.toxics({one});
      Client client{proxy.port()};
      client.send(noise(10'000));
      client.silent(20);
    }
  auto slow = toxic(ToxicType::slicer, Stream::upstream);
  ASSERT_TRUE(read_attributes({{"average_size", 1}, {"delay", 9223372036854775807}}, slow));
  proxy.toxics({slow});
  Client client{proxy.port()};
  client.send(noise(10'000));
  const auto first = client.some();
  EXPECT_LT(first.size(), 10'000U);
  EXPECT_TRUE(client.silent(100));
  proxy.toxics({});
  EXPECT_TRUE(first + client.bytes(10'000 - first.size()) == noise(10'000));
}

TEST_F(Toxics, down_refuses_and_ends_what_exists) {
  Client client{proxy.port()};
  round_trip_ms(client);
  const auto port = proxy.port();
  proxy.with([](auto& one) {
    one.disable();
    return 0;
  });
  EXPECT_EQ(client.rest(), "");
  EXPECT_EQ(Client{port}.error, ECONNREFUSED);
  proxy.with([](auto& one) {
    one.enable();
    return 0;
  });
  Client again{port};
  round_trip_ms(again);
}

TEST_F(Toxics, when_the_server_resets_the_client_sees_a_reset) {
  Upstream rude{[](Client& client) {
    client.some(1);  // and what else came is left unread, for which TCP resets
  }};
  ProxyUnderTest between{rude.port()};
  Client client{between.port()};
  client.send(noise(100));
  EXPECT_EQ(client.rest(), "");
  EXPECT_EQ(client.error, ECONNRESET);
}

TEST_F(Toxics, a_client_that_is_gone_before_it_is_accepted_reaches_no_server) {
  std::atomic<int> served = 0;
  const Upstream counted{[&](Client&) { ++served; }};
  ProxyUnderTest before{counted.port()};
  // On the proxy's thread, which cannot accept meanwhile.
  before.with([&](auto&) { return Client{before.port()}.reset(), 0; });
  EXPECT_EQ(Client{before.port()}.rest(), "");
  EXPECT_EQ(before.statistics().connections, 2U);
  EXPECT_EQ(served, 1);
}

TEST_F(Toxics, a_share_of_the_connections_is_hit_for_good) {
  auto some = latency(150);
  some.toxicity = 0.3;
  proxy.toxics({some});
  std::vector<Client> clients;
  std::vector<bool> hit;
  for (int i = 0; i < 150; ++i) {
    clients.emplace_back(proxy.port());
    hit.push_back(round_trip_ms(clients.back(), 1) > 120);
  }
  const auto share = static_cast<double>(std::count(hit.begin(), hit.end(), true)) / 150;
  EXPECT_NEAR(share, 0.3, 5 * std::sqrt(0.21 / 150));
  // The chain is edited: nobody is rolled again.
  proxy.toxics({some, latency(1, Stream::upstream)});
  for (std::size_t i = 0; i < clients.size(); i += 5)
    EXPECT_EQ(round_trip_ms(clients[i], 1) > 120, hit[i]) << i;
  // The same seed hits the same ones.
  ProxyUnderTest again{server.port()};
  again.toxics({some});
  for (std::size_t i = 0; i < 30; ++i) {
    Client client{again.port()};
    EXPECT_EQ(round_trip_ms(client, 1) > 120, hit[i]) << i;
  }
}

}  // namespace
}  // namespace squall
