#include <gtest/gtest.h>

#include "controller/commands/input.hpp"
#include "injector/faults/fault.hpp"

namespace squall {
namespace {

std::string read(const std::string& fault, const std::vector<std::string>& arguments) {
  Diagnostics wrong{fault};
  const auto& schema = *find_fault(fault)->parameters;
  const auto value = parameters_of(arguments, schema, wrong);
  if (wrong.ok()) schema.check(value, wrong);
  return wrong.ok() ? boost::json::serialize(to_json(value)) : wrong.render();
}

TEST(Parameters, of_a_list_are_parted_by_commas_and_a_key_adds_when_it_comes_again) {
  EXPECT_EQ(read("network.partition", {"port=7001,7002", "mode=reject"}),
            R"({"mode":"reject","port":["7001","7002"]})");
  EXPECT_EQ(read("network.partition", {"to=a.test,10.0.0.0/8", "to=fd00::/8"}),
            R"({"to":["a.test","10.0.0.0/8","fd00::/8"]})");
  EXPECT_EQ(read("network.partition", {"to=10.0.0.1"}), R"({"to":"10.0.0.1"})");
  EXPECT_EQ(read("http.headers", {"set=Accept: text/html, text/plain", "set=X-A: b"}),
            R"({"set":["Accept: text/html, text/plain","X-A: b"]})");
}

TEST(Parameters, that_are_recorded_delays_are_a_list_or_a_file) {
  EXPECT_EQ(read("network.delay", {"samples=10ms,20ms"}), R"({"samples":["10ms","20ms"]})");
  EXPECT_EQ(read("network.delay", {"samples=10ms", "samples=20ms"}), R"({"samples":["10ms","20ms"]})");
  EXPECT_EQ(read("network.delay", {"samples=rtt.txt"}), R"({"samples":"rtt.txt"})");
  EXPECT_EQ(read("network.delay", {"samples=rtt,old.txt"}), R"({"samples":"rtt,old.txt"})");
  EXPECT_EQ(read("network.delay", {"samples=10ms,soon"}),
            "network.delay: error: expected a duration such as 40ms, got \"soon\"\n");
}

TEST(Parameters, that_are_wrong_are_told) {
  EXPECT_EQ(read("network.partition", {"port=7001,"}),
            "network.partition: error: expected a whole number, got \"\"\n");
  EXPECT_EQ(read("network.partition", {"mode=drop", "mode=reject"}),
            "network.partition: error: duplicate key \"mode\"\n");
  EXPECT_EQ(read("network.partition", {"protocol=tpc"}),
            "network.partition: error: expected one of any, tcp, udp, icmp, sctp, gre, esp, ah, or a number "
            "from 0 to 255, got \"tpc\"; did you mean \"tcp\"?\n");
  EXPECT_EQ(read("network.partition", {"protocol=89", "port=1"}),
            "network.partition: error: expected no port: protocol 89 has none\n");
  EXPECT_EQ(read("network.partition", {"protocol=132", "port=1"}), R"({"protocol":"132","port":"1"})");
}

TEST(Parameters, of_a_mapping_are_named_with_it) {
  EXPECT_EQ(
      read("network.loss", {"gilbert_elliott.worsens=1%", "gilbert_elliott.recovers=20%", "direction=in"}),
      R"({"direction":"in","gilbert_elliott":{"worsens":"1%","recovers":"20%"}})");
  EXPECT_EQ(read("network.loss", {"loss.a=1%"}),
            "network.loss: error: unknown key \"loss.a\"; did you mean \"loss\"?\nnetwork.loss: error: "
            "expected a loss, or one of every, gilbert_elliott and markov\n");
}

TEST(Parameters, that_the_mechanism_could_not_do_are_refused) {
  EXPECT_EQ(read("tcp.latency", {"latency=1500us"}),
            "tcp.latency: error: expected whole milliseconds, got 1500us\n");
  EXPECT_EQ(read("tcp.latency", {"latency=2ms", "jitter=100us"}),
            "tcp.latency: error: expected whole milliseconds, got 100us\n");
  EXPECT_EQ(read("tcp.slow_close", {"delay=1.5ms"}),
            "tcp.slow_close: error: expected whole milliseconds, got 1500us\n");
  EXPECT_EQ(read("tcp.timeout", {"after=1.5ms"}),
            "tcp.timeout: error: expected whole milliseconds, got 1500us\n");
  EXPECT_EQ(read("tcp.reset_peer", {"after=1.5ms"}),
            "tcp.reset_peer: error: expected whole milliseconds, got 1500us\n");
  EXPECT_EQ(read("tcp.slicer", {"size=10B", "delay=100us"}), R"({"size":"10B","delay":"100us"})");
  EXPECT_EQ(read("dns.answer", {"ttl=1500ms"}), "dns.answer: error: expected whole seconds, got 1500ms\n");
}

}  // namespace
}  // namespace squall
