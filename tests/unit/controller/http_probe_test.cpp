#include <gtest/gtest.h>

#include "controller/probes/kinds.hpp"
#include "tests/support/loopback_server.hpp"
#include "tests/support/servers.hpp"
#include "tests/unit/controller/asking.hpp"

namespace squall {
namespace {

using test::ask;
using test::outcome;

class HttpProbe : public ::testing::Test {
 protected:
  std::string ask_once(ProbeSpec spec) { return outcome(ask(loop_, *http_probe(client_, spec))); }
  boost::asio::io_context loop_;
  http::Client client_{loop_};
};

TEST_F(HttpProbe, accepts_200_to_399_unless_told_otherwise) {
  test::LoopbackServer server(loop_, test::http_answers([](const std::string& request) {
                                return test::http_answer(std::stoi(request.substr(request.find('/') + 1)));
                              }));
  EXPECT_EQ(ask_once({.object = server.url("/200")}), "ok");
  EXPECT_EQ(ask_once({.object = server.url("/302")}), "ok");
  EXPECT_EQ(ask_once({.object = server.url("/404")}), "status 404 (expected 200 to 399)");
  EXPECT_EQ(ask_once({.object = server.url("/503"), .status = {200}}), "status 503 (expected 200)");
  EXPECT_EQ(ask_once({.object = server.url("/200"), .status = {401, 503}}), "status 200 (expected 401, 503)");
  EXPECT_EQ(ask_once({.object = server.url("/503"), .status = {401, 503}}), "ok");
}

TEST_F(HttpProbe, headers_credentials_and_a_body_arrive_and_are_read_when_they_are_needed) {
  std::string heard;
  test::LoopbackServer server(loop_, [&](test::LoopbackServer::Connection& connection) {
    heard = connection.received;
    if (heard.ends_with("{\"id\": 7}")) connection.send(test::http_answer(200));
  });
  ProbeSpec spec{.object = server.url("/orders"), .method = "POST"};
  spec.send = "{\"id\": 7}";
  spec.access.headers["X-Who"].text = "squall";
  spec.access.bearer = SecretText{.text = "", .env = "SQUALL_PROBE_TOKEN", .file = ""};
  ::unsetenv("SQUALL_PROBE_TOKEN");
  EXPECT_THROW(http_probe(client_, spec), std::invalid_argument);
  ::setenv("SQUALL_PROBE_TOKEN", "t0ken", 1);
  EXPECT_EQ(ask_once(spec), "ok");
  EXPECT_NE(heard.find("X-Who: squall\r\n"), std::string::npos) << heard;
  EXPECT_NE(heard.find("Authorization: Bearer t0ken\r\n"), std::string::npos) << heard;
}

TEST_F(HttpProbe, a_server_that_asks_for_it_sees_the_clients_certificate) {
  test::TemporaryDirectory files;
  const std::string key = files.path() / "client.key", certificate = files.path() / "client.pem";
  test::run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=prober", "-keyout", key, "-out", certificate});
  const auto server = test::start_nginx(
      "ssl_verify_client optional_no_ca; location / { if ($ssl_client_s_dn != \"CN=prober\") { return 403; } "
      "return 200 ok; }",
      true);
  ProbeSpec spec{.object = "https://" + server.address() + "/", .verify_tls = false};
  EXPECT_EQ(ask_once(spec), "status 403 (expected 200 to 399)");
  spec.access.certificate = certificate;
  spec.access.key = key;
  EXPECT_EQ(ask_once(spec), "ok");
}

TEST_F(HttpProbe, the_body_must_match_the_expression) {
  test::LoopbackServer server(loop_, test::http_answers([](auto&) {
                                return test::http_answer(200, std::string(500'000, 'x') + " status: green");
                              }));
  EXPECT_EQ(ask_once({.object = server.url(), .body = "status: (green|yellow)$"}), "ok");
  EXPECT_EQ(ask_once({.object = server.url(), .body = "status: red"}), "body does not match \"status: red\"");
  EXPECT_EQ(ask_once({.object = server.url(), .body = "(x+x+)+y"}),
            "body: matching \"(x+x+)+y\" takes too long");
  EXPECT_THROW(http_probe(client_, {.body = "("}), std::invalid_argument);
}

TEST_F(HttpProbe, garbage_is_an_error) {
  test::LoopbackServer server(loop_, [](auto& connection) {
    connection.send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    connection.received.clear();
  });
  EXPECT_EQ(ask_once({.object = server.url()}), "the answer is not HTTP");
}

TEST_F(HttpProbe, a_self_signed_certificate_is_trusted_only_where_it_is_not_verified) {
  const test::Server nginx = test::start_nginx("location / { return 200 ok; }", true);
  const std::string url = "https://" + nginx.address() + "/";
  EXPECT_EQ(ask_once({.object = url}), "certificate not trusted: self-signed certificate");
  const ProbeAnswer answer = ask(loop_, *http_probe(client_, {.object = url, .verify_tls = false}));
  EXPECT_EQ(outcome(answer), "ok");
  EXPECT_EQ(answer.code, 200);
  ASSERT_TRUE(answer.phases);
  EXPECT_GT(answer.phases->connect_ns, 0);
  EXPECT_GT(answer.phases->tls_ns, answer.phases->connect_ns);
  EXPECT_GT(answer.phases->first_byte_ns, answer.phases->tls_ns);
}

TEST_F(HttpProbe, follows_a_real_server_through_its_end_and_its_return) {
  test::Server nginx = test::start_nginx("location / { return 200 ok; }");
  const auto port = nginx.process->port();
  const auto probe = http_probe(client_, {.object = "http://" + nginx.address() + "/"});
  EXPECT_EQ(outcome(ask(loop_, *probe)), "ok");
  nginx.process->stop();
  EXPECT_EQ(outcome(ask(loop_, *probe)), "connection refused");
  nginx = test::start_nginx("location / { return 200 ok; }", false, port);
  EXPECT_EQ(outcome(ask(loop_, *probe)), "ok");
}

}  // namespace
}  // namespace squall
