#include "reports/render/render.hpp"

#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/unit/reports/made_record.hpp"

namespace squall {
namespace {

using testing::MadeRecord;

// A whole drill with two expectations on one alert, told apart by a label only.
struct Drill {
  Drill()
      : record(MadeRecord{"  - {service: playlist, availability: \">= 90%\"}\n"
                          "  - {alert: Slow, labels: {part: a}, fires_within: 4s}\n"
                          "  - {alert: Slow, labels: {part: b}, fires_within: 4s}\n"
                          "  - {other_alerts: none}\n"}
                   .healthy()
                   .end()
                   .record()),
        verdict(judge(record)) {}
  RunRecord record;
  Verdict verdict;
};

// The cells of a row of a table of GitHub's Markdown: between unescaped bars.
std::size_t cells(const std::string& row) {
  std::size_t bars = 0;
  for (std::size_t i = 0; i < row.size(); ++i)
    if (row[i] == '\\')
      ++i;
    else
      bars += row[i] == '|';
  return bars - 1;
}

TEST(Markdown, every_row_of_a_table_has_as_many_cells_as_its_head) {
  Drill drill;
  std::istringstream text{render_markdown(drill.record, drill.verdict)};
  std::size_t head = 0, tables = 0;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("|")) {
      head = 0;
      continue;
    }
    if (!head) head = cells(line), ++tables;
    EXPECT_EQ(cells(line), head) << line;
  }
  EXPECT_GE(tables, 3U);
}

TEST(Junit, names_every_case_once_and_tells_how_long_it_was_watched) {
  Drill drill;
  const auto text = render_junit(drill.record, drill.verdict);
  const std::regex test_case{"testcase name=\"([^\"]*)\"[^>]* time=\"([0-9.]+)\""};
  std::set<std::string> names;
  double watched = 0;
  std::size_t found = 0;
  for (std::sregex_iterator at{text.begin(), text.end(), test_case}, end; at != end; ++at, ++found) {
    EXPECT_TRUE(names.insert((*at)[1]).second) << (*at)[1];
    watched = std::max(watched, std::stod((*at)[2]));
  }
  EXPECT_EQ(found, drill.verdict.expectations.size() + 2);
  EXPECT_NEAR(watched, 40, 1);
  EXPECT_TRUE(names.contains("alert Slow{part=&quot;b&quot;} fires within 4s"));
}

}  // namespace
}  // namespace squall
