#include "scenarios/model/samples.hpp"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace {

std::vector<Duration> read(const std::string& text, std::string& said) {
  Diagnostics wrong{"rtt.txt", text};
  auto out = read_samples(text, wrong);
  said = wrong.render();
  return out;
}

TEST(Samples, one_a_line_in_any_unit_or_milliseconds) {
  std::string said;
  const auto delays = read("# a comment\n12ms\n\n1.5s # slow\r\n\t250us\n7\n0.25\n0\n1h", said);
  EXPECT_EQ(said, "");
  const std::vector<Duration> expected{{12'000'000}, {1'500'000'000},    {250'000}, {7'000'000}, {250'000},
                                       {0},          {3'600'000'000'000}};
  EXPECT_EQ(delays, expected);
}

TEST(Samples, a_mistake_is_told_with_its_line_and_column) {
  std::string said;
  read("12ms\n  2 bananas\n61m\n", said);
  EXPECT_EQ(said,
            "rtt.txt:2:3: error: expected a duration such as 40ms, got \"2 bananas\": unknown unit "
            "\"bananas\" (one of ns, us, ms, s, m, h, d)\n"
            "      2 bananas\n"
            "      ^\n"
            "rtt.txt:3:1: error: expected a delay of 0 to 1h, got 61m\n"
            "    61m\n"
            "    ^\n");
}

TEST(Samples, from_two_to_so_many) {
  std::string many, said;
  for (std::size_t i = 0; i < Samples::most; ++i)
    many += "1\n";
  EXPECT_EQ(read(many, said).size(), Samples::most);
  EXPECT_EQ(said, "");
  read(many + "\n2\n3\n", said);
  EXPECT_EQ(said, "rtt.txt:65538:1: error: expected 65536 delays at most, this is one more\n    2\n    ^\n");
  read("", said);
  EXPECT_EQ(said, "rtt.txt:1:1: error: expected 2 to 65536 delays, one a line, got 0\n");
  read("\n 3", said);
  EXPECT_EQ(said, "rtt.txt:2:2: error: expected 2 to 65536 delays, one a line, got 1\n     3\n     ^\n");
}

TEST(Samples, are_summed_up_instead_of_listed) {
  EXPECT_EQ(describe(SampleFile{"rtt.txt", {{40'000'000}, {12'500'000}, {1'000'000}}}),
            "3 recorded delays of rtt.txt, median 12.5 ms");
}

TEST(Samples, take_the_place_of_their_file) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("squall-samples-{}", ::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream{folder / "rtt.txt"} << "1.000001ms\n2\n";
  auto parameters = [](const std::string& file) {
    return Value::map({{"delay", {}, Value::scalar("1ms")}, {"samples", {}, Value::scalar(file)}});
  };
  const auto& known = *test::small_vocabulary().parameters("network.delay");
  // Relative to the folder, or absolute whatever the folder.
  for (auto& [named, beside] : {std::pair{std::string("rtt.txt"), folder.string()},
                                {(folder / "rtt.txt").string(), std::string("/elsewhere")}}) {
    auto with = parameters(named);
    Diagnostics unreadable;
    std::string errors;
    const auto samples = put_samples_inline(with, known, beside, unreadable, errors);
    EXPECT_EQ(unreadable.render() + errors, "");
    ASSERT_TRUE(samples);
    EXPECT_EQ(samples->file, named);
    // Exactly: what the injector reads is what the file said.
    Samples inline_now;
    ASSERT_TRUE(Codec<Samples>::decode(*with.find("samples"), inline_now, unreadable));
    EXPECT_EQ(inline_now.delays, samples->delays);
    EXPECT_EQ(inline_now.delays.front().ns, 1'000'001);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace squall
