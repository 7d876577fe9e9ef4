#include "controller/hosts/link.hpp"

#include <csignal>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>

namespace squall {
namespace {

using namespace std::chrono_literals;

// A link to a shell script that plays the injector, and what became of one request.
struct Talk {
  explicit Talk(const std::string& script)
      : link(loop, "web1", {"sh", "-c", script}, {[this](const auto& event) { events.push_back(event); },
                                                  [this](const std::string& why) { closed = why; }}) {
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
  EXPECT_EQ(talk.closed, "the injector on web1 ended with exit code 5: no such file");
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

TEST(Link, an_output_that_is_closed_by_an_injector_that_stays_is_a_lost_link) {
  Talk talk("exec >&-; sleep 3");
  talk.run();
  EXPECT_EQ(talk.closed, "the injector on web1 closed the link");
}

TEST(Link, closing_it_is_no_loss) {
  Talk talk(std::string(answer) + " read more; exit 0");
  while (!talk.reply) talk.loop.run_one_for(10s);
  talk.link.close();
  talk.run();
  EXPECT_EQ(talk.closed, "");
}

}  // namespace
}  // namespace squall
