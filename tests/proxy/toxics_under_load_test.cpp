// Bytes through toxics that come and go, of many connections at once.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/proxy/toxics_under_test.hpp"

namespace squall {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using proxy::Stream;
using proxy::Toxic;
using proxy::ToxicType;
using Clock = std::chrono::steady_clock;

class ToxicsUnderLoad : public Toxics {};

// Any that lose nothing.
std::vector<Toxic> some(std::mt19937& random) {
  std::vector<Toxic> out;
  for (auto stream : {Stream::upstream, Stream::downstream}) {
    if (random() % 2) out.push_back(latency(random() % 20, stream));
    if (random() % 2) {
      out.push_back(toxic(ToxicType::bandwidth, stream));
      out.back().rate_kb = 20'000 + random() % 100'000;
    }
    if (random() % 3 == 0) {
      out.push_back(toxic(ToxicType::slicer, stream));
      out.back().average_size = 5000;
      out.back().size_variation = 4000;
    }
    if (random() % 3 == 0) out.push_back(toxic(ToxicType::slow_close, stream));
  }
  std::shuffle(out.begin(), out.end(), random);
  return out;
}

// While it lives, the toxics are others every few milliseconds, and at times there are none.
class Editor {
 public:
  explicit Editor(ProxyUnderTest& proxy)
      : thread_{[this, &proxy] {
          std::mt19937 random{7};
          while (!over_) {
            proxy.toxics(random() % 4 ? some(random) : std::vector<Toxic>{});
            std::this_thread::sleep_for(5ms);
          }
          proxy.toxics({});
        }} {}
  ~Editor() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

TEST_F(ToxicsUnderLoad, edits_under_a_stream_lose_no_byte_and_change_none) {
  const auto sent = noise(24 << 20);
  Client client{proxy.port()};
  std::thread sender{[&] {
    client.send(sent);
    client.send_no_more();
  }};
  std::string got;
  {
    const Editor editor{proxy};
    got = client.rest();
  }
  sender.join();
  EXPECT_TRUE(got == sent) << got.size() << " of " << sent.size() << " bytes";
}

// In pieces of any size with pauses, read as slowly; some connections carry nothing but their end.
void talk(std::uint16_t port, unsigned seed) {
  std::mt19937 random{seed};
  const auto sent = noise(seed % 8 ? random() % (512 << 10) : 0, seed);
  Client client{port};
  std::thread sender{[&, random]() mutable {
    for (std::size_t at = 0; at < sent.size();) {
      const auto size =
          std::min<std::size_t>(1 + random() % (random() % 4 ? 2048 : 64 << 10), sent.size() - at);
      client.send(sent.substr(at, size));
      at += size;
      if (random() % 8 == 0) std::this_thread::sleep_for(1ms);
    }
    client.send_no_more();
  }};
  std::string got;
  for (std::string part; !(part = client.some(1 + random() % (16 << 10))).empty(); got += part)
    if (random() % 8 == 0) std::this_thread::sleep_for(1ms);
  sender.join();
  EXPECT_EQ(client.error, 0);
  EXPECT_TRUE(got == sent) << got.size() << " of " << sent.size() << " bytes, seed " << seed;
}

TEST_F(ToxicsUnderLoad, many_at_once_lose_no_byte_while_toxics_come_and_go) {
  constexpr unsigned times = 4, at_once = 40;
  for (bool edited : {false, true}) {
    std::optional<Editor> editor;
    if (edited) editor.emplace(proxy);
    for (unsigned time = 0; time < times; ++time) {
      std::vector<std::thread> clients;
      for (unsigned i = 0; i < at_once; ++i)
        clients.emplace_back(talk, proxy.port(), time * at_once + i);
      for (auto& client : clients)
        client.join();
    }
  }
  const auto until = Clock::now() + 10s;
  while (proxy.statistics().open && Clock::now() < until)
    std::this_thread::sleep_for(5ms);
  const auto seen = proxy.statistics();
  EXPECT_EQ(seen.open, 0U);
  EXPECT_EQ(seen.connections, 2U * times * at_once);
  EXPECT_EQ(seen.up.received_bytes, seen.up.sent_bytes);
  EXPECT_EQ(seen.down.received_bytes, seen.down.sent_bytes);
}

TEST_F(ToxicsUnderLoad, a_reader_that_does_not_read_holds_the_sender_back) {
  proxy.toxics({latency(1)});
  Client client{proxy.port()};
  std::thread sender{[&] { client.send(noise(60 << 20)); }};
  std::this_thread::sleep_for(1500ms);
  const auto seen = proxy.statistics();
  // What waits in the stages is bounded: of 60 MB that were to come back, the rest waits at the sender.
  EXPECT_LT(seen.up.received_bytes - seen.down.sent_bytes, 55U << 20);
  EXPECT_EQ(client.bytes(60 << 20).size(), std::size_t{60 << 20});
  sender.join();
}

}  // namespace
}  // namespace squall
