#include "controller/hosts/link.hpp"

#include <csignal>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

namespace squall {
namespace {

using namespace std::chrono_literals;

// A link to a shell script that plays the injector, and what became of one request.
struct Talk {
  explicit Talk(const std::string& script, Patience patience = {})
      : link(loop, "web1", {"sh", "-c", script},
             {[this](const auto& event) { events.push_back(event); },
              [this](const std::string& why) { closed = why; }},
             patience) {
    std::signal(SIGPIPE, SIG_IGN);  // as squall does
    link.request({{"do", "hello"}}, [this](Reply given) { reply = std::move(given); });
  }
  void run() { loop.run_for(20s); }

  boost::asio::io_context loop;
  std::vector<boost::json::object> events;
  std::string closed;
  std::optional<Reply> reply;
  Link link;
};

constexpr const char* answer = R"(read request; echo '{"id":1,"ok":true,"host":"web1"}';)";

TEST(Link, an_injector_that_writes_a_lot_of_errors_still_answers) {
  Talk talk(std::string("head -c 1000000 /dev/zero | tr '\\0' x >&2; ") + answer);
  talk.run();
  ASSERT_TRUE(talk.reply && *talk.reply);
  EXPECT_EQ((**talk.reply)["host"], "web1");
}

TEST(Link, its_last_words_are_told) {
  Talk talk("echo first >&2; echo 'no such file' >&2; exit 5");
  talk.run();
  EXPECT_EQ(talk.closed, "the injector on web1 ended with exit code 5 before it spoke: first; no such file");
  ASSERT_TRUE(talk.reply && !*talk.reply);
  EXPECT_EQ(talk.reply->error().kind, "lost");
}

TEST(Link, an_end_by_a_signal_is_told) {
  Talk talk("kill -KILL $$");
  talk.run();
  EXPECT_EQ(talk.closed, "the injector on web1 was ended by signal 9");
}

TEST(Link, what_a_login_shell_prints_is_passed_over) {
  Talk talk(std::string("echo 'Last login: today'; echo '{\"event\":\"dose\"}'; ") + answer);
  talk.run();
  EXPECT_TRUE(talk.reply && *talk.reply);
  ASSERT_EQ(talk.events.size(), 1u);
}

TEST(Link, what_a_login_shell_prints_without_ending_its_line_is_passed_over) {
  Talk talk(std::string("printf 'hi {there} '; ") + answer);
  talk.run();
  EXPECT_TRUE(talk.reply && *talk.reply);
}

TEST(Link, what_is_no_injector_is_told_with_what_it_printed) {
  Talk talk("echo 'you may not'");
  talk.run();
  EXPECT_EQ(talk.closed,
            "the injector on web1 ended with exit code 0 before it spoke: it printed \"you may not\"");
}

TEST(Link, one_that_never_speaks_is_given_up) {
  Talk talk("printf hi; sleep 60", {.first_word = 300ms});
  talk.run();
  ASSERT_TRUE(talk.reply && !*talk.reply);
  EXPECT_EQ(talk.reply->error().text, "the injector on web1 did not speak within 0.3 s: it printed \"hi\"");
  EXPECT_EQ(talk.closed, talk.reply->error().text);
}

TEST(Link, one_that_stops_answering_is_given_up) {
  Talk talk(std::string(answer) + " sleep 60", {.answer = 300ms});
  while (!talk.reply)
    talk.loop.run_one_for(10s);
  std::optional<Reply> second;
  talk.link.request({{"do", "snapshot"}}, [&](Reply given) { second = std::move(given); });
  talk.run();
  ASSERT_TRUE(second && !*second);
  EXPECT_EQ(second->error().text, "the injector on web1 did not answer \"snapshot\" within 0.3 s");
}

TEST(Link, one_that_does_not_take_a_renewal_of_its_lease_is_given_up) {
  Talk talk(std::string(answer) + " sleep 60", {.sign_of_life = 300ms});
  while (!talk.reply)
    talk.loop.run_one_for(10s);
  talk.link.keep_alive(50ms);
  talk.run();
  EXPECT_EQ(talk.closed, "the link to web1 was lost: no sign of life from its injector for 0.3 s");
}

TEST(Link, a_message_that_cannot_be_read_is_an_error_for_whoever_waits) {
  Talk talk(std::string(answer) + " read request; echo '{\"id\":2,'; sleep 60");
  while (!talk.reply)
    talk.loop.run_one_for(10s);
  std::optional<Reply> second;
  talk.link.request({{"do", "plan"}}, [&](Reply given) { second = std::move(given); });
  while (!second)
    talk.loop.run_one_for(10s);
  ASSERT_FALSE(*second);
  EXPECT_EQ(second->error().text, "the injector on web1 said something that cannot be read: {\"id\":2,");
}

TEST(Link, bytes_that_are_no_text_do_not_make_a_message_unreadable) {
  Talk talk(R"(read request; printf '{"id":1,"ok":true,"target":"caf\303[7]"}\n')");
  talk.run();
  ASSERT_TRUE(talk.reply && *talk.reply);
  EXPECT_EQ((**talk.reply)["target"], "caf\\xc3[7]");
}

TEST(Link, who_waits_is_answered_when_it_is_given_up) {
  Talk talk("exec sleep 60");
  talk.link.give_up("interrupted");
  ASSERT_TRUE(talk.reply && !*talk.reply);
  EXPECT_EQ(talk.reply->error().text, "interrupted");
}

TEST(Link, an_output_that_is_closed_by_an_injector_that_stays_is_a_lost_link) {
  Talk talk("exec >&-; sleep 3");
  talk.run();
  EXPECT_EQ(talk.closed, "the injector on web1 closed the link");
}

TEST(Link, an_address_is_given_to_ssh_as_every_ssh_takes_it) {
  const auto words = [](const char* address) {
    HostSpec host;
    host.link = HostSpec::Link::ssh;
    host.address = address;
    const auto command = injector_command(host, {}, "stdio");
    const auto start = std::find(command.begin(), command.end(), "-oServerAliveCountMax=3") + 1;
    std::string out;
    for (auto word = start; *word != "squall-injector"; ++word)
      out += (out.empty() ? "" : " ") + *word;
    return out;
  };
  EXPECT_EQ(words("ops@db1"), "-- ops@db1 sudo -n");
  EXPECT_EQ(words("root@db1"), "-- root@db1");
  EXPECT_EQ(words("ssh://root@[fd88::1]:22"), "-p 22 -- root@fd88::1");
  EXPECT_EQ(words("ssh://root@db1:2222"), "-p 2222 -- root@db1");
  EXPECT_EQ(words("ssh://root@[fd88::1]"), "-- root@fd88::1");
}

TEST(Link, closing_it_is_no_loss) {
  Talk talk(std::string(answer) + " read more; exit 0");
  while (!talk.reply)
    talk.loop.run_one_for(10s);
  talk.link.close();
  talk.run();
  EXPECT_EQ(talk.closed, "");
}

}  // namespace
}  // namespace squall
