// Faults on the answers of a real dnsmasq, asked by dig.
#include <map>
#include <set>
#include <sstream>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/host/packets/dns_message.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/servers.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;
using testing::shell;

int count(const std::string& text, const std::string& part) {
  int out = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at)
    ++out;
  return out;
}

class DnsFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    server = test::start_dnsmasq({"--address=/web.test/10.1.2.3", "--address=/web.test/fd00::3",
                                  "--listen-address=::1", "--listen-address=10.99.0.1",
                                  "--txt-record=web.test,text"});
    port = server.process->port();
  }
  // What dig says: "NOERROR 10.1.2.3", "NXDOMAIN", "timed out".
  std::string dig(const std::string& question, const std::string& at = "127.0.0.1",
                  const std::string& before = "true") const {
    const auto text =
        shell(fmt::format("{}; dig @{} -p {} +tries=1 +timeout=2 +comments +nostats {} 2>&1 || true", before,
                          at, port, question));
    if (text.find("timed out") != std::string::npos ||
        text.find("no servers could be reached") != std::string::npos)
      return "timed out";
    EXPECT_EQ(text.find("WARNING"), std::string::npos) << text;
    EXPECT_EQ(text.find("Warning"), std::string::npos) << text;
    const auto status = text.find("status: ");
    if (status == std::string::npos) return text;
    auto out = text.substr(status + 8, text.find(',', status) - status - 8);
    const auto answers = text.find(";; ANSWER SECTION:\n");
    if (answers == std::string::npos) return out;
    std::istringstream lines{text.substr(answers + 19)};
    for (std::string line; std::getline(lines, line) && !line.empty();)
      out += " " + line.substr(line.find_last_of('\t') + 1);
    return out;
  }
  RunFault fault(const std::string& name, boost::json::object with,
                 boost::json::object on = {{"interface", "any"}}) {
    with["port"] = port;
    return RunFault{name, std::move(with), std::move(on)};
  }

  OwnNetwork network;
  test::Server server;
  std::uint16_t port = 0;
};

TEST_F(DnsFaults, questions_by_tcp_pass_and_are_in_the_share) {
  auto broken = fault("dns.fail", boost::json::object{});
  broken.apply();
  EXPECT_EQ(dig("+notcp web.test A"), "NXDOMAIN");
  EXPECT_TRUE(broken->measure().verified) << broken->measure().reason;
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(dig("+tcp web.test A"), "NOERROR 10.1.2.3");
  const auto dose = broken->measure();
  EXPECT_FALSE(dose.verified) << boost::json::serialize(dose.json());
  EXPECT_EQ(dose.reason, "5 of 6 questions of the target went by this fault: 5 by TCP");
  EXPECT_EQ(broken.undo(), "");
}

TEST_F(DnsFaults, lookups_of_some_names_fail) {
  ASSERT_EQ(dig("web.test A"), "NOERROR 10.1.2.3");
  const auto before = snapshot_host();
  for (auto& [answer, expected] : std::map<std::string, std::string>{{"nxdomain", "NXDOMAIN"},
                                                                     {"servfail", "SERVFAIL"},
                                                                     {"refused", "REFUSED"},
                                                                     {"timeout", "timed out"}}) {
    auto broken = fault("dns.fail", {{"name", {"web.TEST.", "*.other.test"}}, {"answer", answer}});
    broken.apply();
    EXPECT_EQ(broken->measure().reason, "no DNS server answered: nobody was hit");
    EXPECT_EQ(dig("Web.test A"), expected);
    EXPECT_EQ(dig("web.test AAAA", "::1"), expected);
    EXPECT_EQ(dig("deep.in.other.test A"), expected);
    EXPECT_EQ(dig("not.web.test A"), "NOERROR 10.1.2.3");
    const auto dose = broken->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(dose.measured.at("answers").to_number<int>(), 4);
    EXPECT_EQ(dose.measured.at("answers_failed").to_number<int>(), answer == "nxdomain" ? 2 : 3)
        << "this server has no such name as one of them";
    EXPECT_EQ(broken.undo(), "");
    EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.3");
  }
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

// Why names are refused; "" where they are not.
std::string refusal(const std::string& name) {
  try {
    const RunFault fault{"dns.fail", {{"name", {name}}}, {{"interface", "lo"}}};
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

TEST_F(DnsFaults, what_no_name_is_like_is_refused) {
  const std::string label(63, 'a'), three = label + "." + label + "." + label + ".";
  EXPECT_NE(
      refusal("a..b").find(
          "expected a name such as db.example.org or *.example.org, got \"a..b\": a label in it is empty"),
      std::string::npos)
      << refusal("a..b");
  for (const std::string& name : {std::string(), std::string(".a"), std::string("*..b"), std::string("a..")})
    EXPECT_NE(refusal(name).find("a label in it is empty"), std::string::npos) << name;
  EXPECT_NE(refusal("a" + label + ".org").find("more than 63 characters"), std::string::npos);
  EXPECT_NE(refusal(three + std::string(62, 'a')).find("more than 253 characters"), std::string::npos);
  for (auto* name : {"a b", "a:53", "http://a", "a,b"})
    EXPECT_NE(refusal(name).find("no name has a "), std::string::npos) << name;
  EXPECT_NE(refusal("bücher.example").find("Punycode"), std::string::npos);
  EXPECT_NE(refusal("web[12").find("its [ has no ]"), std::string::npos);
  for (const std::string& name :
       {std::string("."), std::string("*"), std::string("web.TEST."), std::string("*.other.test"),
        std::string("web-?.test"), std::string("web[0-9].test"), std::string("web[!0].*"),
        std::string("_sip._tcp.example.org"), std::string("1/25.2.0.192.in-addr.arpa"),
        three + std::string(61, 'a'), three + std::string(61, 'a') + "."})
    EXPECT_EQ(refusal(name), "") << name;
}

TEST_F(DnsFaults, lookups_of_one_type_fail) {
  auto broken = fault("dns.fail", {{"type", "AAAA"}});
  broken.apply();
  EXPECT_EQ(dig("web.test AAAA"), "NXDOMAIN");
  EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.3");
  EXPECT_EQ(dig("web.test TXT"), "NOERROR \"text\"");
  EXPECT_EQ(broken.undo(), "");
}

TEST_F(DnsFaults, names_resolve_to_other_addresses) {
  {
    auto wrong = fault("dns.answer", {{"address", {"192.0.2.1", "192.0.2.2"}}, {"name", "web.test"}});
    wrong.apply();
    EXPECT_EQ(dig("web.test A"), "NOERROR 192.0.2.1 192.0.2.2");
    EXPECT_EQ(dig("web.test AAAA", "::1"), "NOERROR");
    EXPECT_EQ(dig("web.test TXT"), "NOERROR \"text\"");
    EXPECT_EQ(dig("+notcp web.test ANY"), "NOERROR 192.0.2.1 192.0.2.2");
    EXPECT_EQ(dig("nothing.test A"), "NXDOMAIN");
    EXPECT_TRUE(wrong->measure().verified);
    EXPECT_EQ(wrong.undo(), "");
  }
  {
    auto of_one_type = fault("dns.answer", {{"address", "192.0.2.1"}, {"type", "A"}});
    const auto everything = dig("+notcp web.test ANY");
    of_one_type.apply();
    EXPECT_EQ(dig("web.test A"), "NOERROR 192.0.2.1");
    EXPECT_EQ(dig("+notcp web.test ANY"), everything);
    EXPECT_EQ(of_one_type.undo(), "");
  }
  auto random = fault("dns.answer", {{"random", true}});
  random.apply();
  std::set<std::string> seen;
  for (int i = 0; i < 10; ++i)
    seen.insert(dig("nothing.test A"));
  EXPECT_GE(seen.size(), 8U);
  for (auto& one : seen)
    EXPECT_TRUE(one.starts_with("NOERROR 192.0.2.") || one.starts_with("NOERROR 198.51.100.") ||
                one.starts_with("NOERROR 203.0.113."))
        << one;
  EXPECT_TRUE(dig("web.test AAAA", "::1").starts_with("NOERROR 2001:db8:"));
  EXPECT_EQ(random.undo(), "");
}

TEST_F(DnsFaults, a_delay_is_measured_and_does_not_hold_back_others) {
  auto late = fault("dns.delay", {{"delay", "400ms"}, {"name", "web.test"}});
  late.apply();
  const auto both =
      shell(fmt::format("(dig @127.0.0.1 -p {0} web.test | grep time: >/dev/null; echo late) & dig "
                        "@127.0.0.1 -p {0} other.test >/dev/null; echo other; wait",
                        port));
  EXPECT_EQ(both, "other\nlate\n");
  for (int i = 0; i < 4; ++i)
    dig("web.test A");
  const auto dose = late->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_GE(dose.measured.at("delay_ms").to_number<double>(), 400);
  EXPECT_EQ(late.undo(), "");
}

TEST_F(DnsFaults, a_share_of_the_answers) {
  auto broken = fault("dns.fail", {{"share", "50%"}});
  broken.apply();
  std::string many;
  for (int i = 0; i < 60; ++i)
    many += " web.test A";
  const auto text = shell(fmt::format("dig @127.0.0.1 -p {} +tries=1 +timeout=5{}", port, many));
  EXPECT_NEAR(count(text, "status: NXDOMAIN"), 30, 15);
  EXPECT_EQ(count(text, "status: NXDOMAIN") + count(text, "status: NOERROR"), 60);
  const auto dose = broken->measure();
  EXPECT_EQ(dose.measured.at("answers_failed").to_number<int>(), count(text, "status: NXDOMAIN"));
  EXPECT_EQ(broken.undo(), "");
}

TEST_F(DnsFaults, of_one_process_alone) {
  const testing::OwnGroup group;
  const testing::ServerProcess asker{[] { return nullptr; }, group.folder};
  auto broken = fault("dns.fail", {}, {{"pid", asker.pid()}});
  broken.apply();
  const auto inside = fmt::format("echo $$ >{}/cgroup.procs", group.folder);
  EXPECT_EQ(dig("web.test A", "127.0.0.1", inside), "NXDOMAIN");
  EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.3");
  EXPECT_EQ(broken->measure().measured.at("answers").to_number<int>(), 1);
  EXPECT_EQ(broken.undo(), "");
}

TEST_F(DnsFaults, arriving_by_a_wire) {
  const test::TemporaryDirectory files;
  const auto pid_file = files.path() / "pid";
  network.at_the_other_end([&] {
    shell(fmt::format(
        "dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --user=root --bind-interfaces "
        "--listen-address=10.99.0.2 --listen-address=fd99::2 --pid-file={} --address=/web.test/10.1.2.3 "
        "--local=/test/ --port={}",
        pid_file.string(), port));
  });
  {
    auto broken = fault("dns.fail", {}, {{"interface", "sqa"}});
    broken.apply();
    EXPECT_EQ(dig("web.test A", "10.99.0.2"), "NXDOMAIN");
    EXPECT_EQ(dig("web.test A", "fd99::2"), "NXDOMAIN");
    EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.3") << "lo is not sqa";
    std::string answer;
    network.at_the_other_end([&] { answer = dig("web.test A", "10.99.0.1"); });
    EXPECT_EQ(answer, "NOERROR 10.1.2.3") << "what others are answered leaves: it does not arrive";
    EXPECT_EQ(broken.undo(), "");
  }
  auto broken = fault("dns.fail", {{"server", "10.99.0.2"}});
  broken.apply();
  EXPECT_EQ(dig("web.test A", "10.99.0.2"), "NXDOMAIN");
  EXPECT_EQ(dig("web.test A", "fd99::2"), "NOERROR 10.1.2.3");
  EXPECT_EQ(broken.undo(), "");
  shell(fmt::format("kill $(cat {})", pid_file.string()));
}

TEST_F(DnsFaults, who_asks_by_edns_is_answered_by_edns) {
  const auto ask = [&] {
    return shell(fmt::format(
        "dig @127.0.0.1 -p {} +tries=1 +timeout=2 +edns=0 +bufsize=1232 +nocookie web.test A", port));
  };
  ASSERT_NE(ask().find("EDNS: version: 0"), std::string::npos);
  for (auto& [name, with, status] : std::vector<std::tuple<std::string, boost::json::object, std::string>>{
           {"dns.fail", {{"answer", "servfail"}}, "SERVFAIL"},
           {"dns.fail", {{"answer", "nxdomain"}}, "NXDOMAIN"},
           {"dns.answer", {{"address", "192.0.2.1"}}, "NOERROR"}}) {
    auto some = fault(name, with);
    some.apply();
    const auto text = ask();
    EXPECT_NE(text.find("status: " + status), std::string::npos) << text;
    EXPECT_NE(text.find("EDNS: version: 0"), std::string::npos) << text;
    EXPECT_EQ(text.find("arning"), std::string::npos) << text;
    EXPECT_EQ(text.find("WARNING"), std::string::npos) << text;
    EXPECT_EQ(some.undo(), "");
  }
  auto plain = fault("dns.fail", {});
  plain.apply();
  EXPECT_NE(shell(fmt::format("dig @127.0.0.1 -p {} +noedns web.test A", port)).find("ADDITIONAL: 0"),
            std::string::npos);
}

// An answer with a compressed record, an authority and an OPT record (extended RCODE 1, DO, a cookie) among
// the additional ones.
TEST(DnsMessage, keeps_the_opt_record) {
  const std::string question("\x03web\x04test\0\0\x01\0\x01", 14),
      record("\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x0a\x01\x02\x03", 16);
  const std::string opt(
      "\0\0\x29\x04\xd0\x01\0\x80\0\0\x0c\0\x0a\0\x08"
      "cookie12",
      23);
  const auto packet_of = [&](const std::string& counts, const std::string& records) {
    auto message = std::string("\x12\x34\x85\x80\0\x01", 6) + counts + question + records;
    const auto udp =
        std::string("\0\x35\x80\x01\0", 5) + static_cast<char>(message.size() + 8) + std::string(2, 0);
    return std::string("\x45\0\0", 3) + static_cast<char>(message.size() + 28) +
           std::string("\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01", 16) + udp + message;
  };
  const auto answer_to = [](const std::string& packet, const std::vector<dns::Address>& addresses = {}) {
    const auto read = dns::AnswerPacket::read(packet);
    return read ? read->with(dns::Code::server_failure, addresses, 0).substr(28) : "unread";
  };
  auto kept = opt;
  kept[5] = 0;
  const std::string begin("\x12\x34\x81\x82\0\x01", 6);
  const auto packet = packet_of(std::string("\0\x01\0\x01\0\x02", 6), record + record + record + opt);
  EXPECT_EQ(answer_to(packet), begin + std::string("\0\0\0\0\0\x01", 6) + question + kept);
  EXPECT_EQ(answer_to(packet, {{.v6 = false, .bytes = {10, 1, 2, 3}}}),
            begin + std::string("\0\x01\0\0\0\x01", 6) + question + record + kept);
  for (auto& [counts, records] :
       std::vector<std::pair<std::string, std::string>>{{std::string("\0\x01\0\0\0\0", 6), record},
                                                        {std::string("\0\0\0\0\0\x01", 6), opt.substr(0, 20)},
                                                        {std::string("\0\x01\0\0\0\x01", 6), "\x3f" + opt},
                                                        {std::string("\0\0\0\0\0\0", 6), opt}})
    EXPECT_EQ(answer_to(packet_of(counts, records)), begin + std::string(6, 0) + question);
}

// Bytes of a packet, cut and changed in every place: it is read as what it is or not at all, and nothing
// beyond it is read.
TEST(DnsMessage, of_any_bytes) {
  const std::string question(
      "\x12\x34\x85\x80\0\x01\0\x01\0\0\0\x01\x03WeB\x04test\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04"
      "\x0a\x01\x02\x03\0\0\x29\x04\xd0\x01\0\x80\0\0\0",
      53);
  std::string udp("\0\x35\x80\x01\0\x3d\0\0", 8);
  const std::string v4 =
      std::string("\x45\0\0\x51\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01", 20) + udp + question;
  const std::string v6 = std::string("\x60\0\0\0\0\x3d\x11\x40", 8) + std::string(32, 'a') + udp + question;
  for (auto& packet : {v4, v6}) {
    const auto read = dns::AnswerPacket::read(packet);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->question().name, "web.test");
    EXPECT_EQ(dns::type_name(read->question().type), "A");
    const auto again = read->with(dns::Code::no_such_name, {}, 0);
    const auto other = dns::AnswerPacket::read(again);
    ASSERT_TRUE(other);
    EXPECT_EQ(other->question().name, "web.test");
    for (std::size_t size = 0; size < packet.size(); ++size) {
      const std::vector<char> part(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(size));
      if (auto some = dns::AnswerPacket::read(part)) some->with(dns::Code::refused, {}, 0);
    }
    for (std::size_t at = 0; at < packet.size(); ++at)
      for (int value = 0; value < 256; ++value) {
        std::vector<char> changed(packet.begin(), packet.end());
        changed[at] = static_cast<char>(value);
        if (auto some = dns::AnswerPacket::read(changed))
          some->with(dns::Code::no_error, {{}, {.v6 = true}}, 60);
      }
  }
}

TEST_F(DnsFaults, an_answer_that_says_so_already_is_no_change) {
  auto same = fault("dns.answer", {{"name", "web.test"}, {"address", {"10.1.2.3", "fd00::3"}}});
  same.apply();
  EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.3");
  EXPECT_EQ(dig("web.test AAAA"), "NOERROR fd00::3");
  auto dose = same->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "all of the 2 answers that were hit said so already: nothing was changed");
  EXPECT_EQ(same.undo(), "");
  auto other = fault("dns.answer", {{"name", "web.test"}, {"address", "10.1.2.4"}});
  other.apply();
  EXPECT_EQ(dig("web.test A"), "NOERROR 10.1.2.4");
  EXPECT_TRUE(other->measure().verified) << other->measure().reason;
}

TEST_F(DnsFaults, that_match_no_name_say_which_were_asked) {
  auto broken = fault("dns.fail", {{"name", "web"}});
  broken.apply();
  for (int i = 0; i < 2; ++i)
    dig("web.test A");
  dig("web.test AAAA");
  EXPECT_EQ(broken->measure().reason,
            "none of the answers matched; asked were web.test A (2 times), web.test AAAA (1 time); the "
            "search list appends a domain to \"web\": name=web.test means what is asked");
}

}  // namespace
}  // namespace squall
