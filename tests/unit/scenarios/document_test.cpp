#include "scenarios/text/document.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace squall {
namespace {

std::string said_about(std::string_view text, const DocumentLimits& limits = {}) {
  Diagnostics diagnostics{"a.yaml", std::string(text.substr(0, 1000))};
  parse_document(text, diagnostics, limits);
  const auto said = diagnostics.render();
  return said.substr(0, said.find('\n'));
}

Value parsed(std::string_view text) {
  Diagnostics diagnostics{"a.yaml", std::string(text)};
  auto value = parse_document(text, diagnostics);
  EXPECT_EQ(diagnostics.render(), "");
  return value;
}

std::string repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i)
    out += text;
  return out;
}

TEST(Document, every_value_knows_its_place) {
  const auto value = parsed("a: 1\nb:\n  - x\n  -   {c: 'y'}\nd: # nothing\ne: ~\n");
  EXPECT_EQ(value.find("a")->place, (Place{1, 4}));
  EXPECT_EQ(value.find("b")->items.at(1).find("c")->place, (Place{4, 11}));
  EXPECT_EQ(value.find("d")->place, (Place{5, 1}));  // an empty value is where its key is
  EXPECT_EQ(value.find("e")->place, (Place{6, 4}));
  EXPECT_EQ(value.find("e")->kind, Value::Kind::null);
}

TEST(Document, an_empty_item_is_where_its_dash_is) {
  const auto value = parsed("a:\n  -\n  - x\n  -\n");
  EXPECT_EQ(value.find("a")->items.at(0).place, (Place{2, 3}));
  EXPECT_EQ(value.find("a")->items.at(2).place, (Place{4, 3}));
}

TEST(Document, quotes_make_a_text_of_what_looks_like_something_else) {
  const auto value = parsed("a: \"5\"\nb: 5\nc: '~'\n");
  EXPECT_TRUE(value.find("a")->quoted);
  EXPECT_FALSE(value.find("b")->quoted);
  EXPECT_EQ(value.find("c")->kind, Value::Kind::scalar);
}

TEST(Document, quotes_within_quotes_do_not_end_them) {
  const auto value = parsed("a: 'it''s'\nb: \"say \\\"x\\\"\"\nc: &q 'x'\nd: don't\ne: |\n  'open\nf: ''\n");
  EXPECT_EQ(value.find("a")->text, "it's");
  EXPECT_EQ(value.find("b")->text, "say \"x\"");
  EXPECT_EQ(value.find("e")->text, "'open\n");
}

TEST(Document, aliases_are_copies) {
  const auto value = parsed("a: &x {k: [1, 2]}\nb: *x\n");
  EXPECT_EQ(value.find("b")->find("k")->items.at(1).text, "2");
}

TEST(Document, merged_keys_do_not_override_given_ones) {
  const auto value = parsed("a: &x {k: 1, l: 1}\nb: &y {l: 2, m: 2}\nc: {k: 3, <<: [*x, *y]}\nd: {<<: *x}\n");
  EXPECT_EQ(value.find("c")->find("k")->text, "3");
  EXPECT_EQ(value.find("c")->find("l")->text, "1");
  EXPECT_EQ(value.find("c")->find("m")->text, "2");
  EXPECT_EQ(value.find("d")->find("k")->text, "1");
}

TEST(Document, an_alias_bomb_is_defused) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i)
    bomb += fmt::format("a{0}: &a{0} [{1}]\n", i, repeated(fmt::format("*a{}, ", i - 1), 10));
  EXPECT_NE(said_about(bomb).find("the document grows beyond 200000 values here"), std::string::npos);
}

TEST(Document, a_bomb_of_long_texts_is_defused) {
  const auto bomb = "a: &a " + std::string(1 << 20, 'x') + "\nb: [" + repeated("*a, ", 1000) + "]\n";
  EXPECT_NE(said_about(bomb).find("aliases make the document too large here"), std::string::npos);
}

TEST(Document, a_staircase_of_aliases_is_refused) {
  std::string text = "a0: &a0 " + std::string(60, '[') + std::string(60, ']') + "\n";
  for (int i = 1; i < 1000; ++i)
    text += fmt::format("a{0}: &a{0} [*a{1}]\n", i, i - 1);
  EXPECT_NE(said_about(text).find("nested deeper than 64 levels"), std::string::npos);
}

TEST(Document, deep_nesting_is_refused) {
  EXPECT_EQ(said_about(std::string(100'000, '[') + std::string(100'000, ']')),
            "a.yaml:1:65: error: nested deeper than 64 levels");
  EXPECT_NE(said_about(repeated("{a: ", 50'000)).find("nested deeper than 64 levels"), std::string::npos);
  std::string block;
  for (int i = 0; i < 2000; ++i)
    block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  EXPECT_NE(said_about(block).find("nested deeper than 64 levels"), std::string::npos);
  EXPECT_NE(said_about(repeated("- ", 50'000)).find("nested deeper than 64 levels"), std::string::npos);
}

TEST(Document, a_huge_file_is_refused) {
  EXPECT_EQ(said_about(std::string((4 << 20) + 1, 'x')),
            "a.yaml: error: the file has more than the 4194304 bytes that are read");
  EXPECT_NE(said_about(repeated("- x\n", 200'001)).find("the document grows beyond 200000 values here"),
            std::string::npos);
}

TEST(Document, many_keys_and_many_quotes_take_linear_time) {
  auto seconds = [](int keys) {
    std::string text;
    for (int i = 0; i < keys; ++i)
      text += fmt::format("key{}: \"value\"\n", i);
    const auto start = std::chrono::steady_clock::now();
    parsed(text);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds(1000);
  const auto few = std::min(seconds(5000), seconds(5000));
  const auto many = std::min(seconds(40'000), seconds(40'000));
  EXPECT_LT(many, few * 8 * 4);  // a quadratic share would make it 64 times
}

TEST(Document, bytes_that_are_no_text_are_named) {
  EXPECT_EQ(said_about(std::string_view("a: \0", 4)),
            "a.yaml:1:4: error: expected text, got the control character 0x00");
  EXPECT_EQ(said_about("a: \xc3("), "a.yaml:1:4: error: expected UTF-8 text, got the byte 0xc3");
  EXPECT_EQ(said_about("a: \xed\xa0\x80"),
            "a.yaml:1:4: error: expected UTF-8 text, got the byte 0xed");  // a surrogate
  EXPECT_EQ(said_about("a: \xc0\xaf"),
            "a.yaml:1:4: error: expected UTF-8 text, got the byte 0xc0");  // overlong
  EXPECT_EQ(said_about("a: \xf4\x90\x80\x80"),
            "a.yaml:1:4: error: expected UTF-8 text, got the byte 0xf4");  // too high
}

TEST(Document, json_survives_the_way_there_and_back) {
  const auto json = boost::json::parse(R"({"a": [1, 1.5, true, null, "x"], "b": {"c": -2}})");
  const auto value = from_json(json);
  EXPECT_EQ(value.find("a")->items.at(1).text, "1.5");
  EXPECT_EQ(value.find("a")->items.at(2).text, "true");
  EXPECT_EQ(to_json(value),
            boost::json::parse(R"({"a": ["1", "1.5", "true", null, "x"], "b": {"c": "-2"}})"));
}

TEST(Document, arguments_are_a_mapping) {
  Diagnostics diagnostics{"--on"};
  const auto value = from_arguments({"delay=80ms", "to=a=b", "bad", "=x", "delay=1s"}, diagnostics);
  EXPECT_EQ(value.find("to")->text, "a=b");
  EXPECT_EQ(diagnostics.render(),
            "--on: error: expected key=value, got \"bad\"\n--on: error: expected key=value, got \"=x\"\n"
            "--on: error: duplicate key \"delay\"\n");
}

TEST(Document, files_that_cannot_be_read_say_why) {
  auto said = [](const std::string& path) {
    Diagnostics diagnostics{"x"};
    EXPECT_EQ(read_text_file(path, diagnostics), "");
    return diagnostics.render();
  };
  EXPECT_EQ(said("/nonexistent/file"), "x: error: no such file\n");
  EXPECT_EQ(said("/"), "x: error: expected a file, got a folder\n");
  EXPECT_EQ(said("/dev/zero"), "x: error: the file has more than the 4194304 bytes that are read\n");
  EXPECT_EQ(said("/dev/null"), "");
}

}  // namespace
}  // namespace squall
