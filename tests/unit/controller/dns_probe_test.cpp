#include <gtest/gtest.h>

#include <boost/asio/ip/udp.hpp>

#include "controller/probes/dns_message.hpp"
#include "controller/probes/kinds.hpp"
#include "tests/support/servers.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using test::ask;
using test::outcome;

class DnsProbe : public ::testing::Test {
 protected:
  std::string ask_once(const std::string& name, const std::string& server, const std::string& type = "") {
    return outcome(ask(loop_, *dns_probe(loop_, {.object = name, .server = server, .type = type})));
  }
  boost::asio::io_context loop_;
};

TEST_F(DnsProbe, a_real_server_knows_some_names_and_types_and_not_others) {
  const test::Server dnsmasq = test::start_dnsmasq(
      {"--address=/web.test/10.1.2.3", "--address=/web.test/fd00::3", "--host-record=four.test,10.1.2.4",
       "--mx-host=mail.test,mx.test", "--txt-record=note.test,hello", "--cname=www.test,four.test"});
  EXPECT_EQ(ask_once("web.test", dnsmasq.address()), "ok");
  EXPECT_EQ(ask_once("WEB.test.", dnsmasq.address(), "aaaa"), "ok");
  EXPECT_EQ(ask_once("www.test", dnsmasq.address()), "ok");
  EXPECT_EQ(ask_once("four.test", dnsmasq.address(), "AAAA"), "no AAAA record");
  EXPECT_EQ(ask_once("mail.test", dnsmasq.address(), "MX"), "ok");
  EXPECT_EQ(ask_once("note.test", dnsmasq.address(), "TXT"), "ok");
  EXPECT_EQ(ask_once("gone.test", dnsmasq.address()), "NXDOMAIN");
  EXPECT_EQ(ask_once("else.where", dnsmasq.address()), "REFUSED");
  EXPECT_EQ(ask_once("web.test", "localhost:" + std::to_string(dnsmasq.process->port())), "ok");
}

TEST_F(DnsProbe, a_port_without_a_server_is_refused) {
  EXPECT_EQ(ask_once("web.test", "127.0.0.1:" + std::to_string(test::free_port())), "connection refused");
}

TEST_F(DnsProbe, answers_to_other_questions_and_garbage_are_passed_over) {
  namespace ip = boost::asio::ip;
  ip::udp::socket server(loop_, {ip::address_v4::loopback(), 0});
  dns::Message question(512);
  ip::udp::endpoint asker;
  server.async_receive_from(boost::asio::buffer(question), asker, [&](auto, std::size_t size) {
    question.resize(size);
    const auto send = [&](const dns::Message& reply) { server.send_to(boost::asio::buffer(reply), asker); };
    auto answer = question;
    answer[2] |= 0x80;
    answer[3] |= 3;
    auto other = answer;
    other[0] ^= 1;
    other[3] &= 0xf0;
    send({1, 2, 3});
    send(question);
    send(other);
    send(answer);
  });
  EXPECT_EQ(ask_once("web.test", "127.0.0.1:" + std::to_string(server.local_endpoint().port())), "NXDOMAIN");
}

TEST_F(DnsProbe, names_and_types_that_cannot_be_asked_for_are_refused_at_once) {
  for (const ProbeSpec& spec :
       {ProbeSpec{.object = ""}, ProbeSpec{.object = "a..b"}, ProbeSpec{.object = std::string(64, 'a')},
        ProbeSpec{.object = std::string(127, 'a') + "." + std::string(127, 'b')},
        ProbeSpec{.object = "a.test", .type = "WEB"}, ProbeSpec{.object = "a.test", .server = "x:0"}})
    EXPECT_THROW(dns_probe(loop_, spec), std::invalid_argument) << spec.object;
}

dns::Message answered(dns::Message question, int answers) {
  question[2] |= 0x80;
  question[7] = static_cast<std::uint8_t>(answers);
  for (int i = 0; i < answers; ++i)
    for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, static_cast<int>(i)})
      question.push_back(static_cast<std::uint8_t>(byte));
  return question;
}

TEST(DnsMessage, counts_only_the_records_of_the_type_asked_for) {
  const auto question = *dns::make_question(7, "web.test", *dns::record_type("A"));
  EXPECT_EQ(dns::read_reply(answered(question, 3), question)->records, 3);
  const auto other = *dns::make_question(7, "web.test", *dns::record_type("AAAA"));
  EXPECT_EQ(dns::read_reply(answered(other, 3), other)->records, 0);
  EXPECT_FALSE(dns::read_reply(answered(question, 3), other));
}

TEST(DnsMessage, a_reply_cut_off_anywhere_is_no_answer_and_any_bytes_are_harmless) {
  const auto question = *dns::make_question(7, "web.test", 1);
  const auto whole = answered(question, 2);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(
        dns::read_reply({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, question))
        << size;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      auto changed = whole;
      changed[at] = static_cast<std::uint8_t>(value);
      dns::read_reply(changed, question);
    }
}

}  // namespace
}  // namespace squall
