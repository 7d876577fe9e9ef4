#include "scenarios/text/text.hpp"
#include "scenarios/model/secrets.hpp"
#include "scenarios/text/utf8.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Text, urls_have_a_scheme_a_host_and_perhaps_a_port) {
  for (auto* url : {"http://localhost", "https://a.example:8443/x?y=z#w", "http://[::1]:9090/",
                    "http://user:pw@10.0.0.1/", "http://a?b", "http://[fe80::1%25eth0]/"})
    EXPECT_EQ(url_problem(url), "") << url;
  for (auto* url : {"", "localhost", "http://", "http:///x", "ftp://a", "http://a:0/", "http://a:65536/",
                    "http://a:/", "http://a b/", "http://[::1", "http://::1/", "http://a:80:90/"})
    EXPECT_NE(url_problem(url), "") << url;
}

TEST(Text, host_and_port_are_both_needed) {
  for (auto* text : {"127.0.0.1:6379", "redis:1", "[::1]:65535", "a-b_c.example:80"})
    EXPECT_EQ(host_port_problem(text), "") << text;
  for (auto* text : {"", ":", ":80", "a:", "a", "a:0", "a:65536", "a:-1", "a:8x", "::1:80", "[::1]", "a b:80",
                     "tcp://a:80"})
    EXPECT_NE(host_port_problem(text), "") << text;
}

TEST(Text, regular_expressions_are_tried) {
  EXPECT_EQ(regex_problem("^redis-server .*:6379$"), "");
  EXPECT_EQ(regex_problem("(a"),
            "expected a regular expression, got \"(a\": a parenthesis does not match, or nothing stands "
            "before *, + or ?");
  EXPECT_EQ(regex_problem("[a"), "expected a regular expression, got \"[a\": a bracket is not closed");
  EXPECT_EQ(regex_problem(std::string(1001, 'a')),
            "expected a regular expression of at most 1000 characters, got 1001");
  EXPECT_EQ(regex_problem("((a{1000}){1000}){1000}"),
            "expected a regular expression, got \"((a{1000}){1000}){1000}\": it is too complex");
}

TEST(Text, a_thousand_brackets_do_not_overflow_the_stack) {
  EXPECT_NE(regex_problem(std::string(1000, '(')), "");
  EXPECT_EQ(regex_problem(std::string(400, '(') + std::string(400, ')')), "");
}

TEST(Text, names_of_drills_can_name_folders) {
  for (auto* name : {"a", "raid-battery-failure", "2nd-try"})
    EXPECT_EQ(slug_problem(name), "") << name;
  for (auto* name : {"", "-a", "A", "a b", "a/b", "..", "é"})
    EXPECT_NE(slug_problem(name), "") << name;
  EXPECT_NE(slug_problem(std::string(65, 'a')), "");
}

TEST(Text, secrets_do_not_reach_reports) {
  EXPECT_EQ(without_secrets("https://user:secret@a.example:8443/x?token=1#y"), "a.example:8443/x");
  EXPECT_EQ(without_secrets("postgresql://app:secret@db/catalogue?sslmode=require"), "db/catalogue");
  EXPECT_EQ(without_secrets("host=db port=5432 user=app password=secret dbname=catalogue"),
            "host=db port=5432 dbname=catalogue");
  EXPECT_EQ(without_secrets("host=db password='a host=secret'"), "");
}

TEST(Redacted, passwords_wherever_they_stand_and_nothing_else) {
  EXPECT_EQ(redacted("http: \"https://user:s3c:r@t@a.example:8443/x\""),
            "http: \"https://user:REDACTED@a.example:8443/x\"");
  EXPECT_EQ(redacted("host=db password=s3cret dbname=x"), "host=db password=REDACTED dbname=x");
  EXPECT_EQ(redacted("host=db password='two words' x"), "host=db password='REDACTED' x");
  EXPECT_EQ(redacted("{headers: {Authorization: \"Bearer abc.def\", X: y}}"),
            "{headers: {Authorization: \"Bearer REDACTED\", X: y}}");
  EXPECT_EQ(redacted("{\"password\": \"x\"}"), "{\"password\": \"REDACTED\"}");
  EXPECT_EQ(redacted("GET /a?token=1&b=2"), "GET /a?token=REDACTED&b=2");
  for (auto* plain : {"http://a:80/x@y", "http://127.0.0.1:8080/", "a tokenizer: x", "password: {env: PW}",
                      "secret", "password:", "://", ""})
    EXPECT_EQ(redacted(plain), plain);
}

TEST(Printable, is_what_a_terminal_does_not_obey_and_a_record_may_hold) {
  EXPECT_EQ(printable_text("W\x1b[2J\x7f\xff\xc2\x9b"), "W\\x1b[2J\\x7f\\xff\\xc2\\x9b");
  EXPECT_EQ(printable_text("a\tb\nc \xc3\xa9 \xe2\x82\xac"), "a\tb\nc \xc3\xa9 \xe2\x82\xac");
  EXPECT_EQ(printable_text("x\xe2\x80\xaey"), "x\\u202ey");
  EXPECT_EQ(printable_text("half \xc3"), "half \\xc3");
}

}  // namespace
}  // namespace squall
