// Who gets in: nothing without a role, no other name, no other site, no guessing.
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/serve/daemon.hpp"
#include "tests/support/paths.hpp"

namespace squall::test {
namespace {

class ServeDoor : public testing::Test {
 protected:
  void SetUp() override { daemon.start(); }
  Daemon daemon;
};

TEST_F(ServeDoor, nothing_is_read_or_done_without_a_role) {
  EXPECT_EQ(daemon.get("", "/healthz").status, 200);
  for (auto* path :
       {"/", "/metrics", "/openapi.json", "/api/v1/runs", "/api/v1/events", "/runs/x", "/nothing"})
    EXPECT_EQ(daemon.get("", path).status, 401) << path;
  EXPECT_EQ(daemon.post("", "/api/v1/halt").status, 401);
  EXPECT_EQ(daemon.get("nobody", "/api/v1/runs").status, 401);
  EXPECT_EQ(daemon.get("vera", "/api/v1/runs").status, 200);
  EXPECT_EQ(daemon.post("vera", "/api/v1/freeze").status, 403);
}

TEST_F(ServeDoor, another_name_is_refused) {
  EXPECT_EQ(daemon.get("vera", "/api/v1/runs", {"-H", "Host: rebound.example"}).status, 403);
  EXPECT_EQ(daemon.get("", "/healthz", {"-H", "Host: rebound.example"}).status, 403);
}

TEST_F(ServeDoor, other_sites_are_refused) {
  for (auto* header : {"Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Origin: null"})
    EXPECT_EQ(daemon.post("lea", "/api/v1/freeze", "{}", {"-H", header}).status, 403) << header;
  EXPECT_EQ(daemon.post("lea", "/api/v1/freeze").status, 200);
}

TEST_F(ServeDoor, guessing_is_slowed_down_for_the_right_token_too) {
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(daemon.get("guess" + std::to_string(i), "/api/v1/runs").status, 401);
  EXPECT_EQ(daemon.get("guess", "/api/v1/runs").status, 429);
  EXPECT_EQ(daemon.get("vera", "/api/v1/runs").status, 429);
}

TEST_F(ServeDoor, a_browser_logs_in_and_acts_only_from_its_own_page) {
  const auto jar = (daemon.state.path() / "jar").string();
  const auto own = fmt::format("Origin: http://127.0.0.1:{}", daemon.port);
  const auto in = daemon.get("", "/login", {"-c", jar, "-H", own, "-d", "token=" + daemon.token("lea")});
  EXPECT_EQ(in.status, 303);
  EXPECT_EQ(daemon.get("", "/", {"-b", jar}).status, 200);
  EXPECT_EQ(daemon.post("", "/api/v1/freeze", "{}", {"-b", jar}).status, 403) << "from where is not told";
  EXPECT_EQ(daemon.post("", "/api/v1/freeze", "{}", {"-b", jar, "-H", own}).status, 200);
  EXPECT_EQ(daemon.get("", "/login", {"-H", own, "-d", "token=wrong"}).status, 403);
  EXPECT_EQ(daemon.post("", "/logout", "", {"-b", jar, "-H", own}).status, 303);
  EXPECT_EQ(daemon.get("", "/", {"-b", jar}).status, 401);
}

TEST_F(ServeDoor, a_second_daemon_does_not_take_the_store) {
  try {
    run({bin_dir() + "/squall", "serve", "--drills", daemon.drills.path().string(), "--state",
         daemon.state.path().string(), "--listen", "127.0.0.1:0"});
    FAIL() << "it started";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("another daemon has the store"), std::string::npos) << e.what();
  }
}

TEST_F(ServeDoor, bad_bodies_are_refused_and_it_lives_on) {
  for (auto* body :
       {"{", "[1]", R"({"why":1})", R"({"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}})"})
    EXPECT_EQ(daemon.post("lea", "/api/v1/freeze", body).status, 400) << body;
  EXPECT_EQ(daemon.post("lea", "/api/v1/freeze", R"({"for":"soon"})").status, 400);
  EXPECT_EQ(daemon.post("lea", "/api/v1/freeze", std::string(100'000, 'x')).status, 413);
  EXPECT_EQ(daemon.get("vera", "/runs/%2e%2e%2f%2e%2e%2fetc").status, 404);
  EXPECT_EQ(daemon.get("vera", "/runs/%zz").status, 404);
  EXPECT_EQ(daemon.get("vera", "/api/v1/halt").status, 405);
  EXPECT_EQ(daemon.get("vera", "/openapi.json").json().at("openapi").as_string(), "3.1.0");
}

TEST_F(ServeDoor, events_are_told_as_they_happen_and_again_from_the_last_one_heard) {
  const auto heard = [&](const std::string& last) {
    // curl ends with 28 when its second is over.
    return run({"sh", "-c", "curl -sN --max-time 1 -H \"$1\" -H \"$2\" \"$3\" || true", "sh",
                "Authorization: Bearer " + daemon.token("vera"), "Last-Event-ID: " + last,
                fmt::format("http://127.0.0.1:{}/api/v1/events", daemon.port)});
  };
  const auto reset = heard("another-1");
  EXPECT_NE(reset.find("event: reset"), std::string::npos) << reset;
  EXPECT_NE(reset.find(": still here"), std::string::npos) << reset;
  daemon.post("lea", "/api/v1/freeze");
  daemon.post("lea", "/api/v1/lift");
  auto told = std::string();
  std::thread watching{[&] { told = heard(""); }};
  while (daemon.get("vera", "/metrics").body.find("squall_watchers 1") == std::string::npos) {
  }
  daemon.post("lea", "/api/v1/freeze");
  watching.join();
  ASSERT_NE(told.find("event: audit\ndata: {\"who\":\"lea\",\"what\":\"freeze\""), std::string::npos) << told;
  const auto life = told.substr(told.find("id: ") + 4, 8);
  const auto again = heard(life + "-1");
  EXPECT_EQ(again.find(life + "-1\n"), std::string::npos) << again;
  EXPECT_NE(again.find(life + "-2\n"), std::string::npos) << again;
  EXPECT_NE(again.find(life + "-3\n"), std::string::npos) << again;
}

}  // namespace
}  // namespace squall::test
