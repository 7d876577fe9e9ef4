#include "scenarios/model/http_access.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <unistd.h>

#include "scenarios/model/landscape.hpp"
#include "scenarios/model/reader.hpp"

namespace squall {
namespace {

// What is wrong with a probe of these keys, or "".
std::string problem(const std::string& keys, ProbeSpec* out = nullptr) {
  const auto text = "services: {shop: {probes: [{http: \"https://shop.test/\", " + keys + "}]}}\n";
  Diagnostics wrong{"landscape.yaml", text};
  const auto read = read_landscape(text, wrong);
  if (out && wrong.ok()) *out = read.services.at("shop").probes.at(0);
  return wrong.ok() ? "" : wrong.errors().front().message;
}

TEST(HttpAccess, secrets_come_from_the_environment_or_a_file) {
  const auto path = std::string(std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp") + "/squall-secret-" +
                    std::to_string(::getpid());
  std::ofstream(path) << "opensesame\n";
  ::setenv("SQUALL_TEST_TOKEN", "t0ken", 1);
  ProbeSpec probe;
  ASSERT_EQ(problem("headers: {X-Who: me, X-Api-Key: {env: SQUALL_TEST_TOKEN}}, basic: {user: Aladdin, "
                    "password: {file: \"" +
                        path + "\"}}",
                    &probe),
            "");
  EXPECT_EQ(probe.access.header_lines(),
            (std::vector<std::string>{"X-Api-Key: t0ken", "X-Who: me",
                                      "Authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l"}));
  ASSERT_EQ(problem("bearer: {env: SQUALL_TEST_TOKEN}", &probe), "");
  EXPECT_EQ(probe.access.header_lines(), std::vector<std::string>{"Authorization: Bearer t0ken"});
  std::remove(path.c_str());
}

TEST(HttpAccess, a_secret_that_cannot_be_had_is_named_and_not_guessed) {
  ProbeSpec probe;
  ASSERT_EQ(problem("bearer: {env: SQUALL_NOT_SET}", &probe), "");
  try {
    probe.access.header_lines();
    FAIL() << "expected a complaint";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "bearer: the environment variable SQUALL_NOT_SET is not set");
  }
}

TEST(HttpAccess, secrets_in_the_file_itself_and_halves_of_things_are_refused) {
  EXPECT_NE(problem("bearer: t0ken").find("so that the secret stays out of"), std::string::npos);
  EXPECT_NE(problem("headers: {Authorization: Bearer t0ken}").find("Authorization: expected {env: NAME}"),
            std::string::npos);
  EXPECT_NE(problem("basic: {user: a, password: b}").find("so that the secret stays out of"),
            std::string::npos);
  EXPECT_NE(problem("certificate: me.pem").find("certificate and key together"), std::string::npos);
  EXPECT_NE(problem("bearer: {env: A, file: b}").find("expected a text, {env: NAME} or {file: PATH}"),
            std::string::npos);
  EXPECT_NE(problem("send: \"{}\"").find("add method:"), std::string::npos);
  EXPECT_EQ(problem("send: \"{}\", method: POST"), "");
}

}  // namespace
}  // namespace squall
