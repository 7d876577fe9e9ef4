#include <gtest/gtest.h>

#include "tests/support/json_schema.hpp"
#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace {

boost::json::value document(std::string_view text) {
  Diagnostics diagnostics{"text", std::string(text)};
  auto value = parse_document(text, diagnostics);
  EXPECT_EQ(diagnostics.render(), "");
  return test::typed_json(value);
}

const boost::json::object& scenario_schema() {
  static const auto schema = scenario_json_schema(test::small_vocabulary());
  return schema;
}

// What editors say about a scenario with this step, "" where they are content.
std::string said_about_step(const std::string& step) {
  const auto text = "{scenario: x, method: [" + step + "], expect: [{other_alerts: none}]}";
  auto errors = test::schema_errors(scenario_schema(), document(text));
  return fmt::format("{}", fmt::join(errors, "; "));
}

TEST(JsonSchema, says_which_draft_it_is) {
  EXPECT_EQ(scenario_schema().at("$schema"), "http://json-schema.org/draft-07/schema#");
  EXPECT_EQ(landscape_json_schema().at("$schema"), "http://json-schema.org/draft-07/schema#");
}

TEST(JsonSchema, knows_each_faults_parameters) {
  EXPECT_EQ(said_about_step("{fault: network.delay, with: {delay: 80ms}, for: 30s}"), "");
  EXPECT_EQ(said_about_step("{fault: network.delay, with: {write_rate: 1MB/s}, for: 30s}"),
            "/method/0/with/write_rate: not allowed; /method/0/with: missing delay");
  EXPECT_EQ(said_about_step("{fault: disk.throttle, with: {write_rate: 1MB/s}, for: 30s}"), "");
  EXPECT_EQ(said_about_step("{fault: disk.throttle, with: {write_rate: 1MB}, for: 30s}"),
            "/method/0/with/write_rate: wrong pattern");
  EXPECT_EQ(said_about_step("{fault: network.delay, for: 30s}"), "/method/0: missing with");
}

TEST(JsonSchema, knows_the_faults_and_what_they_are_aimed_with) {
  EXPECT_EQ(said_about_step("{fault: teapot, for: 30s}"), "/method/0/fault: none of the enum");
  EXPECT_EQ(said_about_step("{fault: process.kill, on: {exe: nginx}}"), "");
  EXPECT_EQ(said_about_step("{fault: process.kill, on: {path: /var}}"), "/method/0/on/path: not allowed");
  EXPECT_EQ(said_about_step("{fault: disk.throttle, on: {path: /var}}"), "/method/0: missing for");
}

TEST(JsonSchema, refuses_unknown_keys_and_wrong_kinds) {
  auto refused = [](std::string_view text) {
    return !test::schema_errors(landscape_json_schema(), document(text)).empty();
  };
  EXPECT_FALSE(refused("{services: {a: {probes: [{tcp: \"a:1\"}]}}}"));
  EXPECT_TRUE(refused("{services: {a: {probes: [{tcp: \"a:1\", http: \"http://a/\"}]}}}"));
  EXPECT_TRUE(refused("{services: {a: {probes: [{every: 1s}]}}}"));
  EXPECT_TRUE(refused("{servces: {}}"));
  EXPECT_TRUE(refused("{hosts: {a: {link: shh}}}"));
  EXPECT_TRUE(refused("{services: {a: {slo: {availability: 99}}}}"));
}

}  // namespace
}  // namespace squall
