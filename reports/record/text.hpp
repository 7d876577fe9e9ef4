// Figures as people read them. Shared by verdicts and renderers, so that one number never reads in two ways.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "reports/record/figures.hpp"
#include "reports/record/record.hpp"
#include "scenarios/schema/times.hpp"

namespace squall::text {

std::string seconds(double s);                           // "12.1 s", "3 min 5 s" from two minutes on
std::string milliseconds(double ms);                     // "0.42 ms", "81.3 ms", "1.2 s"
std::string percent(double share);                       // 0.9967 → "99.67 %"; never rounds up to 100 %
std::string percent_interval(const Interval&);           // "98.8–99.96 %"
std::string quantile_interval(const QuantileInterval&);  // of milliseconds
std::string count(std::int64_t);                         // "12,345"
using squall::rfc3339;
std::string clock(std::int64_t wall_ns);  // "08:51:42 UTC"
std::string day(std::int64_t wall_ns);    // "23 November 2026"
std::string labels(const std::map<std::string, std::string>&,
                   std::string_view without = "");  // "{a=\"b\"}", "" for none
// What to do about differences that are no change of Squall's own, the commands that show them by host.
std::vector<std::string> next_steps(bool all_undone,
                                    const std::map<std::string, std::vector<std::string>>& see);
std::string join(const std::vector<std::string>&, std::string_view separator = ", ");

// A dose's value by its key, whose ending is its unit: ("delay_ms", 80) → "80 ms", ("write_bytes_per_s",
// 1048576) → "1 MiB/s". Bytes are told in the units that what was prescribed is round in: 499,900 beside
// 500,000 → "499.9 kB".
std::string dose_value(std::string_view key, const boost::json::value&,
                       const boost::json::value* prescribed = nullptr);
// The key without its unit, in words: "delay", "write bytes".
std::string dose_name(std::string_view key);

struct DoseRow {
  std::string name, prescribed, measured;  // "" where there is no counterpart
};
std::vector<DoseRow> dose_rows(const DoseRecord&);
// How much of what was meant met the fault: "0 of 300 probes of shop met the fault, 11 of 1,211 segments of
// the target did"; "" where all of it did, or nothing is known of it.
std::string what_met(const boost::json::array& shares, const boost::json::object& witness);
// "delay 80 ms prescribed, 81.2 ms measured" of what has both; else what is there.
std::string dose_summary(const DoseRecord&);

// Cut to `width` columns with an ellipsis; `width` counts code points.
std::string cut(std::string_view text, std::size_t width);
std::size_t columns(std::string_view text);

}  // namespace squall::text
