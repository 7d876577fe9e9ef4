// Whether what was measured of a service meets what was expected: held, violated or inconclusive.
//
// Held: the measured figure meets the bound, and there are samples enough that one bad one alone would not
// have broken it (100 for 99 %, 1,000 for 99.9 %, and never fewer than 20). Violated: the figure misses the
// bound, and so does its whole 95 % confidence interval. Anything else is too little to tell: inconclusive.
// What squall could not ask might have gone either way: where that would turn the outcome, it is inconclusive
// too.
//
// A service is judged probe by probe: what is expected of it holds where it holds for each of them, and is
// violated where it is for one. Many probes of one kind cannot outvote another.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "reports/record/figures.hpp"

namespace squall {

enum class Outcome { held, violated, inconclusive };
std::string_view to_string(Outcome);

// One criterion of the scenario's `expect`, judged.
struct Judged {
  std::string expectation;  // "service playlist: availability >= 99%"
  Outcome outcome = Outcome::inconclusive;
  std::string evidence;  // the numbers it rests on
};

struct Finding {
  Outcome outcome = Outcome::inconclusive;
  std::string evidence;
};

// How many probes it takes that a single bad one does not decide; of a latency, by its quantile.
std::int64_t enough_for(const Comparison<Percent>&);
std::int64_t enough_for(double q);

Finding judge_availability(const Figures&, const Comparison<Percent>&);
// `q` is 0.5, 0.9, 0.99, or 1 for the maximum.
Finding judge_latency(const Figures&, double q, const Comparison<Duration>&);
// `watched_s` is how long was watched after the last fault's end.
Finding judge_recovery(const Recovery&, Duration within, double watched_s);

// What one of a service's probes says of an expectation.
struct ProbeFinding {
  std::string probe;
  Finding finding;
};
// What they say together. Each is named where there are several.
Finding judge_service(const std::vector<ProbeFinding>&);

}  // namespace squall
