// Recorded delays, as a fault replays them: a list, or a file with one a line that is read where the scenario
// is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scenarios/schema/schema.hpp"

namespace squall {

// As a parameter: the delays themselves, or the file that has them.
struct Samples {
  static constexpr std::size_t least = 2, most = 65'536;
  static constexpr Duration longest{3'600'000'000'000};  // of one delay

  std::vector<Duration> delays;
  std::string file;
  bool empty() const { return delays.empty() && file.empty(); }
};

template <>
struct Codec<Samples> {
  static std::string name() { return "list of durations, or a file with one a line"; }
  static bool decode(const Value&, Samples&, Diagnostics&);
  static boost::json::object schema();
};

// What a file said.
struct SampleFile {
  std::string file;  // as the scenario names it
  std::vector<Duration> delays;
};

// "2134 recorded delays of rtt.txt, median 12 ms".
std::string describe(const SampleFile&);

// The delays of a file, one a line: 12ms, 1.5s, or a bare number of milliseconds; blank lines and what
// follows a # are skipped. What is wrong goes to `diagnostics` with its place.
std::vector<Duration> read_samples(std::string_view text, Diagnostics& diagnostics);

// A fault's parameters that name a file of samples get its delays in place of its name, so that the host
// needs no file. Relative paths count from `folder`. A file that cannot be read goes to `diagnostics`, what
// is wrong within it is rendered and appended to `errors`.
std::optional<SampleFile> put_samples_inline(Value& with, const ObjectSchema& parameters,
                                             const std::string& folder, Diagnostics& diagnostics,
                                             std::string& errors);

}  // namespace squall
