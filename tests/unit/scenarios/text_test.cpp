#include "scenarios/text.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Text, urls_have_a_scheme_a_host_and_perhaps_a_port) {
  for (auto* url : {"http://localhost", "https://a.example:8443/x?y=z#w", "http://[::1]:9090/", "http://user:pw@10.0.0.1/",
                    "http://a?b", "http://[fe80::1%25eth0]/"})
    EXPECT_EQ(url_problem(url), "") << url;
  for (auto* url : {"", "localhost", "http://", "http:///x", "ftp://a", "http://a:0/", "http://a:65536/", "http://a:/",
                    "http://a b/", "http://[::1", "http://::1/", "http://a:80:90/"})
    EXPECT_NE(url_problem(url), "") << url;
}

TEST(Text, host_and_port_are_both_needed) {
  for (auto* text : {"127.0.0.1:6379", "redis:1", "[::1]:65535", "a-b_c.example:80"})
    EXPECT_EQ(host_port_problem(text), "") << text;
  for (auto* text : {"", ":", ":80", "a:", "a", "a:0", "a:65536", "a:-1", "a:8x", "::1:80", "[::1]", "a b:80", "tcp://a:80"})
    EXPECT_NE(host_port_problem(text), "") << text;
}

TEST(Text, regular_expressions_are_tried) {
  EXPECT_EQ(regex_problem("^redis-server .*:6379$"), "");
  EXPECT_EQ(regex_problem("(a"), "expected a regular expression, got \"(a\": a parenthesis does not match, or nothing stands before *, + or ?");
  EXPECT_EQ(regex_problem("[a"), "expected a regular expression, got \"[a\": a bracket is not closed");
  EXPECT_EQ(regex_problem(std::string(1001, 'a')), "expected a regular expression of at most 1000 characters, got 1001");
  EXPECT_EQ(regex_problem("((a{1000}){1000}){1000}"),
            "expected a regular expression, got \"((a{1000}){1000}){1000}\": it is too complex");
}

TEST(Text, a_thousand_brackets_do_not_overflow_the_stack) {
  EXPECT_NE(regex_problem(std::string(1000, '(')), "");
  EXPECT_EQ(regex_problem(std::string(400, '(') + std::string(400, ')')), "");
}

TEST(Text, names_of_drills_can_name_folders) {
  for (auto* name : {"a", "raid-battery-failure", "2nd-try"}) EXPECT_EQ(slug_problem(name), "") << name;
  for (auto* name : {"", "-a", "A", "a b", "a/b", "..", "é"}) EXPECT_NE(slug_problem(name), "") << name;
  EXPECT_NE(slug_problem(std::string(65, 'a')), "");
}

TEST(Text, secrets_do_not_reach_reports) {
  EXPECT_EQ(without_secrets("https://user:secret@a.example:8443/x?token=1#y"), "a.example:8443/x");
  EXPECT_EQ(without_secrets("postgresql://app:secret@db/catalogue?sslmode=require"), "db/catalogue");
  EXPECT_EQ(without_secrets("host=db port=5432 user=app password=secret dbname=catalogue"), "host=db port=5432 dbname=catalogue");
  EXPECT_EQ(without_secrets("host=db password='a host=secret'"), "");
}

}  // namespace
}  // namespace squall
