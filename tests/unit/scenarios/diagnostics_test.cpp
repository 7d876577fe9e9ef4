#include "scenarios/text/diagnostics.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Diagnostics, errors_come_in_the_order_of_their_places) {
  Diagnostics diagnostics{"a.yaml", "one: 1\ntwo: 2\n"};
  diagnostics.error({2, 6}, "second");
  diagnostics.error({1, 6}, "first");
  diagnostics.error({}, "the file as a whole");
  EXPECT_EQ(diagnostics.render(),
            "a.yaml: error: the file as a whole\n"
            "a.yaml:1:6: error: first\n    one: 1\n         ^\n"
            "a.yaml:2:6: error: second\n    two: 2\n         ^\n");
}

TEST(Diagnostics, the_caret_counts_characters_not_bytes) {
  Diagnostics diagnostics{"a.yaml", "größe: µs\n"};
  diagnostics.error({1, 10}, "here");
  EXPECT_EQ(diagnostics.render(), "a.yaml:1:8: error: here\n    größe: µs\n           ^\n");
}

TEST(Diagnostics, nothing_in_a_file_reaches_the_terminals_controls) {
  Diagnostics diagnostics{"a.yaml", "\x1b[31m\tred \xc2\x9b\xff\n"};
  diagnostics.error({1, 1}, "expected X, got " + quote("\x1b[31m\n\xc2\x9b\xff"));
  EXPECT_EQ(diagnostics.render(),
            "a.yaml:1:1: error: expected X, got \"\\x1b[31m\\n\\x9b\xef\xbf\xbd\"\n     [31m red  "
            "\xef\xbf\xbd\n    ^\n");
}

TEST(Diagnostics, a_long_line_is_shown_around_the_caret) {
  Diagnostics diagnostics{"a.yaml", std::string(10'000, 'x') + "!" + std::string(10'000, 'y')};
  diagnostics.error({1, 10'001}, "here");
  const auto text = diagnostics.render();
  EXPECT_LT(text.size(), 500U);
  const auto shown = text.find("    ...x");
  const auto caret = text.find('^');
  const auto line = text.rfind('\n', caret) + 1;
  EXPECT_EQ(text[shown + (caret - line)], '!');
}

TEST(Diagnostics, a_place_beyond_the_text_is_harmless) {
  Diagnostics diagnostics{"a.yaml", "one\n"};
  diagnostics.error({1, 100}, "far right");
  diagnostics.error({100, 1}, "far down");
  EXPECT_EQ(diagnostics.render(),
            "a.yaml:1:4: error: far right\n    one\n       ^\na.yaml:100:1: error: far down\n");
}

TEST(Diagnostics, the_nearest_name_is_one_that_could_have_been_meant) {
  EXPECT_EQ(nearest("titel", {"title", "tile"}), "title");
  EXPECT_EQ(nearest("recovry", {"baseline", "recovery"}), "recovery");
  EXPECT_EQ(nearest("teapot", {"network.delay", "process.kill"}), "");
  EXPECT_EQ(nearest("", {"a"}), "a");
  EXPECT_EQ(hint("x", {}), "");
  EXPECT_EQ(hint("teapot", {"kettle", "cup"}), ", expected one of kettle, cup");
  EXPECT_EQ(hint("kettel", {"kettle", "cup"}), "; did you mean \"kettle\"?");
}

}  // namespace
}  // namespace squall
