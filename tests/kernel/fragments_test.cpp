// Faults aimed by a port, on packets that are cut into pieces: the pieces behind the first share its fate.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "injector/system/process.hpp"
#include "tests/kernel/packets_by.hpp"

namespace squall {
namespace {

constexpr std::uint16_t sink_port = 7107;

sockaddr_in6 address_of(const std::string& text, std::uint16_t port) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  ::inet_pton(AF_INET6, text.c_str(), &out.sin6_addr);
  return out;
}

// Counts the datagrams that arrive whole, on every address of the namespace it is made in.
class Sink {
 public:
  Sink() : socket_(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{0, 50'000};
    const int room = 8 << 20, no = 0;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    ::setsockopt(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    const auto here = address_of("::", sink_port);
    if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
      throw std::runtime_error("bind");
    thread_ = std::thread{[this] {
      std::vector<char> room_for_one(65'536);
      while (!stop_)
        if (::recv(socket_.get(), room_for_one.data(), room_for_one.size(), 0) > 0) ++got_;
    }};
  }
  ~Sink() {
    stop_ = true;
    thread_.join();
  }
  unsigned got() const { return got_; }

 private:
  Fd socket_;
  std::atomic<bool> stop_ = false;
  std::atomic<unsigned> got_ = 0;
  std::thread thread_;
};

void send(const std::string& to, unsigned count, std::size_t size, unsigned gap_us) {
  const Fd socket{::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const auto address = address_of(to, sink_port);
  const std::vector<char> datagram(size, 'x');
  for (unsigned i = 0; i < count; ++i, ::usleep(gap_us))
    ::sendto(socket.get(), datagram.data(), size, 0, reinterpret_cast<const sockaddr*>(&address),
             sizeof address);
}

class Fragments : public testing::PacketsBy {
 protected:
  std::unique_ptr<Sink> sink;
  void SetUp() override {
    PacketsBy::SetUp();
    if (!IsSkipped()) network.at_the_other_end([&] { sink = std::make_unique<Sink>(); });
  }
  unsigned arrived(const std::string& to, unsigned count, std::size_t size, unsigned gap_us,
                   int settle_ms = 300) {
    const auto before = sink->got();
    send(to, count, size, gap_us);
    std::this_thread::sleep_for(std::chrono::milliseconds{settle_ms});
    return sink->got() - before;
  }
};

INSTANTIATE_TEST_SUITE_P(By, Fragments, ::testing::Values("kernel", "userland"),
                         [](auto& info) { return std::string(info.param); });

// More than 64 pieces of other packets between the first and those behind it, and the receiver gives a packet
// up (ipfrag_max_dist).
TEST_P(Fragments, wait_as_long_as_the_first) {
  if (kernel()) return;
  for (auto* to : {"::ffff:10.99.0.2", "fd99::2"}) {
    auto slow = fault("network.delay", {{"delay", "50ms"}, {"port", sink_port}, {"protocol", "udp"}});
    slow.apply();
    EXPECT_EQ(arrived(to, 300, 8'000, 500), 300U) << to;
    EXPECT_TRUE(slow->measure().verified) << slow->measure().reason;
    EXPECT_EQ(slow.undo(), "");
  }
}

TEST_P(Fragments, of_many_delays_share_one) {
  if (kernel()) return;
  auto slow =
      fault("network.delay",
            {{"delay", "60ms"}, {"jitter", "50ms"}, {"distribution", "uniform"}, {"port", sink_port}});
  slow.apply();
  EXPECT_GE(arrived("::ffff:10.99.0.2", 300, 8'000, 1'000), 297U);
}

TEST_P(Fragments, are_limited_with_the_first) {
  if (kernel()) return;
  auto thin = fault("network.rate", {{"rate", "1MB/s"}, {"port", sink_port}, {"protocol", "udp"}});
  thin.apply();
  const auto begin = std::chrono::steady_clock::now();
  const auto got = arrived("::ffff:10.99.0.2", 600, 14'000, 2'000, 0);  // 7 MB/s at most
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto dose = thin->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(14'000.0 * got / seconds, 1e6, 0.3e6) << got << " in " << seconds << " s";
}

TEST_P(Fragments, are_lost_with_the_first) {
  if (kernel()) return;
  auto lossy = fault("network.loss", {{"loss", "20%"}, {"port", sink_port}});
  lossy.apply();
  EXPECT_NEAR(arrived("::ffff:10.99.0.2", 500, 8'000, 500), 400, 45);
  const auto dose = lossy->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_NEAR(static_cast<double>(dose.samples), 500, 5) << "a packet in pieces is one";
}

TEST_P(Fragments, that_arrive_share_the_fate_of_the_first) {
  if (kernel()) return;
  Sink here;
  auto lossy =
      fault("network.impair", {{"loss", "20%"}, {"delay", "30ms"}, {"direction", "in"}, {"port", sink_port}});
  lossy.apply();
  network.at_the_other_end([] { send("::ffff:10.99.0.1", 500, 8'000, 1'000); });
  std::this_thread::sleep_for(std::chrono::milliseconds{300});
  EXPECT_NEAR(here.got(), 400, 45);
  EXPECT_TRUE(lossy->measure().verified) << lossy->measure().reason;
}

// A filter behind clsact cannot follow them.
TEST_P(Fragments, that_go_by_are_told) {
  if (!kernel()) return;
  auto thin = fault("network.rate", {{"rate", "1MB/s"}, {"port", sink_port}, {"protocol", "udp"}});
  const auto limits = thin->limits();
  EXPECT_TRUE(std::any_of(limits.begin(), limits.end(),
                          [](auto& text) { return text.find("(fragments)") != std::string::npos; }));
  thin.apply();
  arrived("::ffff:10.99.0.2", 100, 8'000, 2'000);
  const auto dose = thin->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_NE(dose.reason.find("pieces of packets that were cut (fragments)"), std::string::npos)
      << dose.reason;
}

}  // namespace
}  // namespace squall
