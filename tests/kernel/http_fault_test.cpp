// Faults on HTTP requests in front of a real nginx that does not know, asked by curl.
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "injector/faults/afterwards.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/servers.hpp"

namespace squall {
namespace {

using testing::OwnNetwork;
using testing::RunFault;
using testing::shell;

constexpr std::uint16_t port = 8080;

class HttpFaults : public ::testing::Test {
 protected:
  void TearDown() override { end_afterwards(); }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    files.write("big", std::string(1'000'000, 'x'));
    std::filesystem::permissions(files.path(), std::filesystem::perms{0755});
    nginx = test::start_nginx(
        fmt::format("location / {{ return 200 \"$request_method $uri $http_x_squad\\n\"; }} location /closed "
                    "{{ return 444; }} location /files/ {{ alias {}/; }}",
                    files.path().string()),
        false, port);
  }
  static std::string curl(const std::string& what) {
    return shell(fmt::format("curl -s --max-time 20 {} || echo \"curl: $?\"", what));
  }
  // By its pid too: servers of others may have the port in network namespaces of their own.
  RunFault fault(const std::string& name, boost::json::object with) const {
    return RunFault{name, std::move(with), {{"listens_on", port}, {"pid", nginx.process->pid()}}};
  }

  OwnNetwork network;
  test::TemporaryDirectory files;
  test::Server nginx;
};

TEST_F(HttpFaults, abort_a_share_of_the_requests_that_match) {
  const auto before = snapshot_host();
  auto broken =
      fault("http.abort", {{"status", 418}, {"path", "/api/*"}, {"method", "GET"}, {"share", "50%"}});
  broken.apply();
  const auto all =
      curl("-o /dev/null -w '%{http_code} %{num_connects}\\n' 'http://127.0.0.1:8080/api/[1-100]'");
  const auto count = [](const std::string& text, const std::string& part) {
    int out = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at)
      ++out;
    return out;
  };
  const auto hit = count(all, "418 ");
  EXPECT_EQ(count(all, "200 "), 100 - hit);
  EXPECT_NEAR(hit, 50, 20);
  EXPECT_EQ(count(all, " 1\n"), 1) << "the connection was not kept";
  EXPECT_EQ(curl("http://127.0.0.1:8080/other"), "GET /other \n");
  EXPECT_EQ(curl("-X POST -d a=b http://127.0.0.1:8080/api/1"), "POST /api/1 \n");
  const auto dose = broken->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.measured.at("requests").to_number<int>(), 102);
  EXPECT_EQ(dose.measured.at("requests_matched").to_number<int>(), 100);
  EXPECT_EQ(dose.measured.at("requests_aborted").to_number<int>(), hit);
  EXPECT_EQ(broken.undo(), "");
  auto all_broken = fault("http.abort", {});
  all_broken.apply();
  EXPECT_EQ(curl(fmt::format("-w '%{{http_code}}' -o /dev/null -H 'Connection: close' --data-binary @{}/big "
                             "http://127.0.0.1:8080/",
                             files.path().string())),
            "503");
  EXPECT_EQ(all_broken.undo(), "");
  EXPECT_EQ(curl("http://127.0.0.1:8080/api/1"), "GET /api/1 \n");
  end_afterwards();  // a connection may not have ended yet
  EXPECT_EQ(differences(before, snapshot_host()), std::vector<std::string>{});
}

TEST_F(HttpFaults, delay_change_and_truncate) {
  {
    auto late = fault("http.delay", {{"delay", "300ms"}, {"at", "response"}});
    late.apply();
    EXPECT_GE(std::stod(curl("-o /dev/null -w '%{time_starttransfer}' http://127.0.0.1:8080/files/big")),
              0.3);
    const auto dose = late->measure();
    EXPECT_GE(dose.measured.at("delay_ms").to_number<double>(), 300);
    EXPECT_EQ(late.undo(), "");
  }
  {
    auto changed = fault("http.headers", {{"set", {"X-Squad: radio"}}});
    changed.apply();
    EXPECT_EQ(curl("-H 'X-Squad: search' http://127.0.0.1:8080/a"), "GET /a radio\n");
    EXPECT_TRUE(changed->measure().verified);
    EXPECT_EQ(changed.undo(), "");
  }
  {
    auto replaced =
        fault("http.body", {{"body", "{}"}, {"content_type", "application/json"}, {"at", "response"}});
    replaced.apply();
    EXPECT_EQ(curl("-w '%{content_type}' http://127.0.0.1:8080/files/big"), "{}application/json");
    const auto dose = replaced->measure();
    EXPECT_TRUE(dose.verified) << dose.reason;
    EXPECT_EQ(replaced.undo(), "");
  }
  auto cut = fault("http.truncate", {{"bytes", "1000B"}, {"at", "response"}, {"path", "/files/*"}});
  cut.apply();
  EXPECT_EQ(curl("-w '%{size_download} ' -o /dev/null http://127.0.0.1:8080/files/big"), "1000 curl: 18\n");
  EXPECT_EQ(curl("http://127.0.0.1:8080/a"), "GET /a \n");
  EXPECT_TRUE(cut->measure().verified);
  EXPECT_EQ(cut.undo(), "");
}

TEST_F(HttpFaults, a_jitter_is_judged_by_what_was_chosen_for_each_request) {
  auto late = fault("http.delay", {{"delay", "20ms"}, {"jitter", "20ms"}});
  late.apply();
  EXPECT_THAT(curl("'http://127.0.0.1:8080/api/[1-60]'"), ::testing::HasSubstr("GET /api/60 \n"));
  const auto dose = late->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.prescribed.at("jitter_ms").to_number<double>(), 20);
  EXPECT_NEAR(dose.measured.at("rolled_ms").to_number<double>(), 20, 10);
  EXPECT_EQ(late.undo(), "");
}

TEST_F(HttpFaults, undone_they_hold_nothing_back) {
  auto late = fault("http.delay", {{"delay", "100s"}, {"at", "response"}});
  late.apply();
  auto answer = std::async(std::launch::async, [] { return curl("http://127.0.0.1:8080/a"); });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (late->measure().measured.at("requests_delayed").to_number<int>() == 0 &&
         std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  EXPECT_EQ(late.undo(), "");
  EXPECT_EQ(answer.get(), "GET /a \n");
}

// Half of the requests have no body, half of the answers are shorter than what is kept: the share is still as
// asked.
TEST_F(HttpFaults, what_has_nothing_to_change_is_told_apart) {
  for (auto& [name, with, word] : std::vector<std::tuple<std::string, boost::json::object, std::string>>{
           {"http.body", {{"body", "{}"}}, "changed"},
           {"http.truncate", {{"bytes", "1000B"}, {"at", "response"}}, "truncated"},
           {"http.headers", {{"remove", "X-Squad"}}, "changed"}}) {
    auto some = fault(name, with);
    some.apply();
    for (int i = 0; i < 4; ++i) {
      curl("http://127.0.0.1:8080/a");
      curl(name == "http.body" ? "-d a=b http://127.0.0.1:8080/a"
                               : "-H 'X-Squad: radio' http://127.0.0.1:8080/files/big");
    }
    const auto dose = some->measure();
    EXPECT_TRUE(dose.verified) << name << ": " << dose.reason;
    EXPECT_EQ(dose.measured.at("requests_matched").to_number<int>(), 8);
    EXPECT_EQ(dose.measured.at("requests_" + word).to_number<int>(), 4) << name;
    EXPECT_EQ(dose.measured.at("requests_with_nothing_to_be_" + word).to_number<int>(), 4) << name;
    EXPECT_EQ(dose.measured.at("share_percent").to_number<double>(), 100) << name;
    EXPECT_EQ(some.undo(), "");
  }
  auto none = fault("http.body", {{"body", "{}"}});
  none.apply();
  curl("http://127.0.0.1:8080/a");
  EXPECT_FALSE(none->measure().verified);
  EXPECT_EQ(none->measure().reason, "none of 1 requests had what was to be changed");
}

TEST_F(HttpFaults, what_is_there_anyway_is_no_change) {
  for (auto& [name, with] : std::vector<std::pair<std::string, boost::json::object>>{
           {"http.headers", {{"set", {"X-Squad: radio"}}}},
           {"http.body", {{"body", "GET /a radio\n"}, {"at", "response"}}}}) {
    auto none = fault(name, with);
    none.apply();
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(curl("-H 'X-Squad: radio' http://127.0.0.1:8080/a"), "GET /a radio\n");
    const auto dose = none->measure();
    EXPECT_FALSE(dose.verified) << name;
    EXPECT_EQ(dose.reason, "none of 3 requests had what was to be changed") << name;
    EXPECT_EQ(none.undo(), "");
  }
  auto replaced = fault("http.body", {{"body", "GET /b radio\n"}, {"at", "response"}});
  replaced.apply();
  curl("-H 'X-Squad: radio' http://127.0.0.1:8080/a");
  EXPECT_TRUE(replaced->measure().verified) << "as long, and another";
}

TEST_F(HttpFaults, what_a_header_says_of_the_body_goes_with_it) {
  EXPECT_THAT(curl("-i http://127.0.0.1:8080/files/big"), ::testing::HasSubstr("ETag: "));
  auto replaced = fault("http.body", {{"body", "{}"}, {"at", "response"}});
  replaced.apply();
  const auto answer = curl("-i http://127.0.0.1:8080/files/big");
  EXPECT_THAT(answer, ::testing::HasSubstr("\r\n\r\n{}"));
  EXPECT_EQ(answer.find("ETag"), std::string::npos) << answer;
}

TEST_F(HttpFaults, headers_that_did_not_match_are_named) {
  auto broken = fault("http.abort", {{"header", {"X-Squad: radio*"}}});
  broken.apply();
  curl("http://127.0.0.1:8080/a");
  for (int i = 0; i < 2; ++i)
    curl("-H 'X-Squad: search' http://127.0.0.1:8080/a");
  EXPECT_EQ(broken->measure().reason,
            "none of the requests matched; what went by: GET /a with X-Squad: search (2 times), GET /a "
            "without X-Squad (1 time)");
}

// A client that gave up, or a server that hung up: the fault had no answer to change, and hit all that there
// were.
TEST_F(HttpFaults, requests_that_nobody_answers_do_not_count_against_the_share) {
  auto changed = fault("http.headers", {{"at", "response"}, {"set", {"X-Squad: radio"}}});
  changed.apply();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(curl("http://127.0.0.1:8080/closed"), "curl: 52\n");
  auto dose = changed->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.reason, "of the 3 requests that were hit, 3 got no answer that could be changed");
  for (int i = 0; i < 3; ++i)
    EXPECT_THAT(curl("-i http://127.0.0.1:8080/a"), ::testing::HasSubstr("X-Squad: radio"));
  dose = changed->measure();
  EXPECT_TRUE(dose.verified) << dose.reason;
  EXPECT_EQ(dose.measured.at("requests_without_an_answer").to_number<int>(), 3);
  EXPECT_EQ(changed.undo(), "");
}

TEST_F(HttpFaults, that_hit_nobody_say_why) {
  auto broken = fault("http.abort", {{"path", "/api/*"}});
  broken.apply();
  EXPECT_EQ(broken->measure().reason, "no connection was made: nobody was hit");
  curl("http://127.0.0.1:8080/a?token=secret");
  EXPECT_EQ(broken->measure().reason, "none of the requests matched; what went by: GET /a (1 time)");
  curl("-k https://127.0.0.1:8080/a");
  const auto dose = broken->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_EQ(dose.measured.at("connections_unread").to_number<int>(), 1);
  EXPECT_EQ(dose.reason,
            "none of the requests matched; what went by: GET /a (1 time); 1 connections spoke no HTTP/1 "
            "(TLS, HTTP/2): they were passed on as they are");
}

TEST_F(HttpFaults, that_hit_one_beside_others_who_speak_something_else_are_not_verified) {
  auto broken = fault("http.abort", boost::json::object{});
  broken.apply();
  curl("http://127.0.0.1:8080/a");
  EXPECT_TRUE(broken->measure().verified) << broken->measure().reason;
  for (int i = 0; i < 3; ++i)
    curl("-k https://127.0.0.1:8080/a");
  const auto dose = broken->measure();
  EXPECT_FALSE(dose.verified);
  EXPECT_THAT(dose.reason, ::testing::HasSubstr(
                               "3 of 4 connections went by this fault: they spoke no HTTP/1 (TLS, HTTP/2)"));
}

TEST_F(HttpFaults, bad_parameters_are_refused) {
  for (auto& [with, expected] : std::vector<std::pair<boost::json::object, std::string>>{
           {{{"set", {"Content-Length: 3"}}}, "says where a message ends"},
           {{{"set", {"no colon"}}}, "\"Name: value\""},
           {{{"remove", {"two words"}}}, "name of a header"},
           {{}, "set, remove, or both"},
           {{{"remove", "Age"}, {"method", "get"}}, "such as GET"},
           {{{"remove", "Age"}, {"path", "api/*"}}, "such as /api/*"}}) {
    try {
      fault("http.headers", with);
      ADD_FAILURE() << expected;
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find(expected), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace squall
