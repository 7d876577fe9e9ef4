// How users fared: availability and latency of a service over a span of time, and when it came back.
//
// Availability is the share of probes that succeeded. Latency counts from when a probe was due, over every
// probe that was answered as expected or timed out: a timeout is a slow answer, while a connection refused at
// once is none, and says nothing about latency; it counts against availability alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/record/record.hpp"
#include "reports/record/statistics.hpp"

namespace squall {

struct LatencyFigures {
  double p50_ms = 0, p90_ms = 0, p99_ms = 0, max_ms = 0;
  QuantileInterval p50_ci_ms, p90_ci_ms, p99_ci_ms;  // 95 %
  std::vector<double> sorted_ms;                     // what they are made of
};

struct Figures {
  std::int64_t probes = 0, ok = 0, timeouts = 0;
  std::int64_t unseen = 0;  // beside them: those that squall could not ask
  std::int64_t opened = 0;  // of them by a connection of their own
  double availability = 0;
  Interval availability_ci95;
  std::int64_t timed = 0;  // how many samples the latency rests on
  std::optional<LatencyFigures> latency;
  std::map<std::string, std::int64_t> errors;  // by their texts
};

// A sample of a service, of whichever probe.
struct ServiceSample {
  const ProbeSample* sample = nullptr;
  bool timed_out = false;
  std::int64_t answered_t() const { return sample->due_ns + sample->latency_ns; }
};

// Every sample of a service, sorted by when it was due.
std::vector<ServiceSample> samples_of(const RunRecord&, const std::string& service);
std::vector<ServiceSample> samples_of(const RunRecord&, const ProbeSeries&);
// Those of its probes that a record has anything of, by name.
std::vector<const ProbeSeries*> probes_of(const RunRecord&, const std::string& service);
// Over the samples that were due in [from, to).
Figures figures(const std::vector<ServiceSample>&, std::int64_t from_t, std::int64_t to_t);

// What a service must hold to be in its steady state.
struct SteadyState {
  std::optional<Comparison<Percent>> availability;
  std::optional<Comparison<Duration>> latency_p50, latency_p90, latency_p99, latency_max;
};
// Its SLO and what `expect` says of it; the stricter bound counts where both speak.
SteadyState steady_state(const Scenario&, const std::string& service);

// When a service was back, after `from`: the first good answer from which on no more samples are bad than its
// steady state allows, both over the next two seconds (five samples at least) and until `to`. Bad is failed,
// or slower than its bound.
struct Recovery {
  std::optional<double> seconds;  // after `from`; 0 where it was never out of its steady state after it
  std::int64_t seen = 0;          // samples due after `from`
  std::int64_t bad = 0;           // of them
  std::int64_t last_bad_t = 0;
  double unseen_s = 0;  // of `seconds`, or of what was watched: squall could not see
};
Recovery recovery(const std::vector<ServiceSample>&, const SteadyState&, std::int64_t from_t,
                  std::int64_t to_t);

}  // namespace squall
