// Every folder beside this file is a case: landscape.yaml and scenario.yaml (either may be missing) are read
// as `squall check` reads them, with the files they name, and expected.txt is exactly what is said about them
// ("ok" where nothing is wrong).

#include <gtest/gtest.h>

#include "scenarios/text/document.hpp"
#include "tests/support/json_schema.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (auto& entry : fs::directory_iterator(test::source_dir() + "/tests/cases"))
    if (entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string contents(const fs::path& path) {
  Diagnostics diagnostics;
  auto text = read_text_file(path, diagnostics);
  EXPECT_EQ(diagnostics.render(), "") << path;
  return text;
}

std::string without(const std::string& part, std::string text) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part))
    text.erase(at, part.size());
  return text;
}

std::string said_about(const fs::path& folder) {
  std::string said;
  Landscape landscape;
  if (fs::exists(folder / "landscape.yaml")) {
    const auto text = contents(folder / "landscape.yaml");
    Diagnostics diagnostics{"landscape.yaml", text};
    landscape = read_landscape(text, diagnostics);
    said += diagnostics.render();
  }
  if (fs::exists(folder / "scenario.yaml")) {
    const auto text = contents(folder / "scenario.yaml");
    Diagnostics diagnostics{"scenario.yaml", text};
    auto scenario = read_scenario(text, landscape, test::small_vocabulary(), diagnostics);
    const auto of_samples = read_sample_files(scenario, folder, test::small_vocabulary(), diagnostics);
    said += diagnostics.render() + without(folder.string() + "/", of_samples);
  }
  return said.empty() ? "ok\n" : said;
}

class Case : public testing::TestWithParam<std::string> {};

TEST_P(Case, says_what_is_expected) {
  const auto folder = fs::path(test::source_dir()) / "tests/cases" / GetParam();
  ASSERT_TRUE(fs::exists(folder / "scenario.yaml") || fs::exists(folder / "landscape.yaml")) << folder;
  ASSERT_TRUE(fs::exists(folder / "expected.txt")) << folder << " expects nothing; what is said about it is\n"
                                                   << said_about(folder);
  EXPECT_EQ(said_about(folder), contents(folder / "expected.txt"));
}

// Editors must not underline what the reader accepts.
TEST_P(Case, the_json_schema_accepts_what_the_reader_accepts) {
  const auto folder = fs::path(test::source_dir()) / "tests/cases" / GetParam();
  if (said_about(folder) != "ok\n") return;
  auto accepted = [&](const char* file, const boost::json::object& schema) {
    if (!fs::exists(folder / file)) return;
    Diagnostics diagnostics;
    const auto value = test::typed_json(parse_document(contents(folder / file), diagnostics));
    EXPECT_EQ(test::schema_errors(schema, value), std::vector<std::string>{}) << file;
  };
  accepted("landscape.yaml", landscape_json_schema());
  accepted("scenario.yaml", scenario_json_schema(test::small_vocabulary()));
}

INSTANTIATE_TEST_SUITE_P(Folders, Case, testing::ValuesIn(case_names()), [](auto& name) {
  auto words = name.param;
  std::replace_if(words.begin(), words.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return words;
});

}  // namespace
}  // namespace squall
