// toxiproxy's API, word for word: status, body and type of every answer that clients rely on.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "injector/proxy/toxiproxy_api.hpp"

namespace squall {
namespace {

using proxy::ApiAnswer;

class ToxiproxyApi : public ::testing::Test {
 protected:
  boost::asio::io_context io{1};
  proxy::ToxiproxyApi api{io, 1, true};

  ApiAnswer ask(const char* method, const char* target, const char* body = "") {
    return api.answer({method, target, body, "test"});
  }
  void expect(const ApiAnswer& answer, int status, const char* body) {
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer.body, body);
  }
  void make() {
    ASSERT_EQ(ask("POST", "/proxies",
                  R"({"name":"a","listen":"127.0.0.1:0","upstream":"127.0.0.1:9","enabled":false})")
                  .status,
              201);
  }
};

TEST_F(ToxiproxyApi, proxies_come_change_and_go) {
  expect(ask("GET", "/proxies"), 200, "{}");
  expect(ask("POST", "/proxies",
             R"({"name":"a","listen":"127.0.0.1:0","upstream":"127.0.0.1:9","enabled":false})"),
         201, R"({"name":"a","listen":"127.0.0.1:0","upstream":"127.0.0.1:9","enabled":false,"toxics":[]})");
  const auto enabled = ask("PATCH", "/proxies/a", R"({"enabled":true})");
  const auto listen = boost::json::parse(enabled.body).at("listen").as_string();
  EXPECT_NE(listen, "127.0.0.1:0");  // the real port
  expect(ask("GET", "/proxies"), 200,
         fmt::format(
             R"({{"a":{{"name":"a","listen":"{}","upstream":"127.0.0.1:9","enabled":true,"toxics":[]}}}})",
             std::string(listen))
             .c_str());
  expect(ask("DELETE", "/proxies/a"), 204, "");
  expect(ask("GET", "/proxies/a"), 404, "{\"error\":\"proxy not found\",\"status\":404}\n");
}

TEST_F(ToxiproxyApi, an_error_has_the_type_that_go_gives_it) {
  const auto answer = ask("GET", "/proxies/a");
  EXPECT_EQ(answer.type, "text/plain; charset=utf-8");
}

TEST_F(ToxiproxyApi, what_is_wrong_is_said_as_toxiproxy_says_it) {
  make();
  expect(ask("POST", "/proxies", R"({"upstream":"b:1"})"), 400,
         "{\"error\":\"missing required field: name\",\"status\":400}\n");
  expect(ask("POST", "/proxies", R"({"name":"b"})"), 400,
         "{\"error\":\"missing required field: upstream\",\"status\":400}\n");
  expect(ask("POST", "/proxies", R"({"name":"a","upstream":"b:1"})"), 409,
         "{\"error\":\"proxy already exists\",\"status\":409}\n");
  EXPECT_EQ(ask("POST", "/proxies", "nonsense").status, 400);
  EXPECT_TRUE(ask("POST", "/proxies", "nonsense").body.starts_with("{\"error\":\"bad request body: "));
  expect(ask("POST", "/proxies/a/toxics", R"({"type":"latency","stream":"sideways"})"), 400,
         "{\"error\":\"stream was invalid, can be either upstream or downstream\",\"status\":400}\n");
  expect(ask("POST", "/proxies/a/toxics", R"({"type":"nonsense"})"), 400,
         "{\"error\":\"invalid toxic type\",\"status\":400}\n");
  expect(ask("GET", "/proxies/a/toxics/b"), 404, "{\"error\":\"toxic not found\",\"status\":404}\n");
  EXPECT_EQ(ask("POST", "/proxies", R"({"name":"c","listen":"203.0.113.1:80","upstream":"b:1"})").status,
            500);
  EXPECT_EQ(ask("GET", "/proxies/c").status, 404) << "a proxy that cannot listen is there";
  EXPECT_EQ(ask("GET", "/nothing").status, 404);
  EXPECT_EQ(ask("PUT", "/proxies").status, 405);
  EXPECT_EQ(api.answer({"GET", "/proxies", "", "Mozilla/5.0"}).status, 403);
}

TEST_F(ToxiproxyApi, toxics_have_their_defaults_and_keep_what_an_update_does_not_name) {
  make();
  expect(
      ask("POST", "/proxies/a/toxics", R"({"type":"latency","attributes":{"latency":100}})"), 200,
      R"({"attributes":{"latency":100,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1})");
  expect(ask("POST", "/proxies/a/toxics", R"({"type":"latency"})"), 409,
         "{\"error\":\"toxic already exists\",\"status\":409}\n");
  expect(
      ask("PATCH", "/proxies/a/toxics/latency_downstream",
          R"({"attributes":{"jitter":5},"toxicity":0.5,"name":"x","stream":"upstream"})"),
      200,
      R"({"attributes":{"latency":100,"jitter":5},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":5E-1})");
  expect(
      ask("POST", "/proxies/a/toxics",
          R"({"name":"slow / %","type":"slicer","stream":"UPSTREAM","attributes":{"average_size":10}})"),
      200,
      R"({"attributes":{"average_size":10,"size_variation":0,"delay":0},"name":"slow / %","type":"slicer","stream":"upstream","toxicity":1})");
  EXPECT_EQ(boost::json::parse(ask("GET", "/proxies/a/toxics").body).as_array().size(), 2U);
  expect(ask("DELETE", "/proxies/a/toxics/slow%20%2F%20%25"), 204, "");
  expect(ask("POST", "/reset"), 204, "");
  expect(ask("GET", "/proxies/a/toxics"), 200, "[]");
  EXPECT_TRUE(boost::json::parse(ask("GET", "/proxies/a").body).at("enabled").as_bool());
}

TEST_F(ToxiproxyApi, names_of_fields_are_read_in_any_case_and_none_is_passed_over) {
  EXPECT_EQ(
      ask("POST", "/proxies", R"({"Name":"a","Listen":"127.0.0.1:0","Upstream":"127.0.0.1:1","toxics":[]})")
          .status,
      201);
  expect(
      ask("POST", "/proxies/a/toxics",
          R"({"Type":"bandwidth","Stream":"upstream","Toxicity":0.5,"Attributes":{"Rate":100}})"),
      200,
      R"({"attributes":{"rate":100},"name":"bandwidth_upstream","type":"bandwidth","stream":"upstream","toxicity":5E-1})");
  expect(ask("POST", "/proxies/a/toxics", R"({"type":"latency","attributes":{"latncy":100}})"), 400,
         "{\"error\":\"bad request body: unknown field \\\"latncy\\\", expected one of latency, "
         "jitter\",\"status\":400}\n");
  EXPECT_EQ(ask("POST", "/proxies/a/toxics", R"({"type":"latency","toxicty":0.1})").status, 400);
  EXPECT_EQ(ask("POST", "/populate", R"([{"name":"b","upstream":"b:1","enable":false}])").status, 400);
  EXPECT_EQ(boost::json::parse(ask("GET", "/proxies/a/toxics").body).as_array().size(), 1U)
      << "what was refused is there";
}

TEST_F(ToxiproxyApi, what_is_beyond_all_measure_is_as_much_as_can_be) {
  make();
  expect(
      ask("POST", "/proxies/a/toxics",
          R"({"type":"latency","attributes":{"latency":1e16,"jitter":9223372036854775807}})"),
      200,
      R"({"attributes":{"latency":315360000000,"jitter":315360000000},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1})");
  expect(
      ask("POST", "/proxies/a/toxics", R"({"type":"bandwidth","attributes":{"rate":4611686018427387904}})"),
      200,
      R"({"attributes":{"rate":1000000000000},"name":"bandwidth_downstream","type":"bandwidth","stream":"downstream","toxicity":1})");
  expect(
      ask("POST", "/proxies/a/toxics",
          R"({"type":"reset_peer","attributes":{"timeout":-9223372036854775808}})"),
      200,
      R"({"attributes":{"timeout":-315360000000},"name":"reset_peer_downstream","type":"reset_peer","stream":"downstream","toxicity":1})");
}

TEST_F(ToxiproxyApi, an_address_has_a_port_that_exists) {
  expect(ask("POST", "/proxies", R"({"name":"a","listen":"127.0.0.1","upstream":"b:1"})"), 500,
         "{\"error\":\"listen tcp: address 127.0.0.1: missing port in address\",\"status\":500}\n");
  expect(ask("POST", "/proxies", R"({"name":"a","listen":"127.0.0.1:99999","upstream":"b:1"})"), 500,
         "{\"error\":\"listen tcp: address 127.0.0.1:99999: invalid port \\\"99999\\\"\",\"status\":500}\n");
  for (auto* listen : {"127.0.0.1:-1", ":99999", "localhost:", "127.0.0.1:8o"}) {
    const auto body = fmt::format(R"({{"name":"a","listen":"{}","upstream":"b:1"}})", listen);
    EXPECT_EQ(ask("POST", "/proxies", body.c_str()).status, 500) << listen;
  }
  expect(ask("GET", "/proxies"), 200, "{}");
}

TEST_F(ToxiproxyApi, populate_checks_all_before_it_makes_one) {
  expect(ask("POST", "/populate", R"([{"name":"a","upstream":"b:1"},{"name":"b"}])"), 400,
         "{\"error\":\"missing required field: upstream at proxy 2\",\"status\":400}\n");
  expect(ask("GET", "/proxies"), 200, "{}");
  const auto partly = ask(
      "POST", "/populate",
      R"([{"name":"a","listen":"127.0.0.1:0","upstream":"b:1"},{"name":"b","listen":"203.0.113.1:1","upstream":"b:1"}])");
  EXPECT_EQ(partly.status, 500);
  EXPECT_EQ(boost::json::parse(partly.body).at("proxies").as_array().size(), 1U);
}

TEST_F(ToxiproxyApi, counters_are_for_prometheus) {
  make();
  EXPECT_NE(ask("GET", "/metrics")
                .body.find("toxiproxy_proxy_sent_bytes_total{direction=\"downstream\",listener=\"127.0.0.1:"
                           "0\",proxy=\"a\",upstream=\"127.0.0.1:9\"} 0\n"),
            std::string::npos);
  ask("POST", "/proxies", R"({"name":"a \"b\" \\ c\nd","upstream":"127.0.0.1:9","enabled":false})");
  EXPECT_NE(ask("GET", "/metrics").body.find(R"(proxy="a \"b\" \\ c\nd",)"), std::string::npos);
}

}  // namespace
}  // namespace squall
