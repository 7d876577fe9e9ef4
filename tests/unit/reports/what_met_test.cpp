// How reports say how much of what was meant met a fault.
#include <gtest/gtest.h>

#include "reports/record/text.hpp"

namespace squall::text {
namespace {

namespace json = boost::json;

TEST(WhatMet, is_said_in_one_short_phrase) {
  const json::object probes{{"service", "shop"}, {"met", 0}, {"passed", 300}};
  const json::array all{json::object{{"of", "segments"}, {"met", 40}, {"passed", 0}}};
  const json::array some{json::object{{"of", "segments"},
                                      {"met", 11},
                                      {"passed", 1200},
                                      {"by", json::array{"1200 by a redirect of port 80 to 8080 (NAT)"}}}};
  const json::array unknown{json::object{{"of", "segments"}, {"unknown", "the kernel keeps no count"}}};
  EXPECT_EQ(what_met(all, {}), "");
  EXPECT_EQ(what_met(all, probes), "0 of 300 probes of shop met the fault");
  EXPECT_EQ(what_met(some, probes),
            "0 of 300 probes of shop met the fault, 11 of 1,211 segments of the target met it");
  EXPECT_EQ(what_met(unknown, {}), "how much of the target met it is not known: the kernel keeps no count");
  EXPECT_EQ(what_met(unknown, probes), "0 of 300 probes of shop met the fault");
  EXPECT_EQ(what_met({}, {{"service", "shop"}, {"met", 0}, {"passed", 0}, {"unseen", 7}}),
            "whether the 7 probes of shop met the fault is not known");
  DoseRecord dose;
  dose.prescribed["delay_ms"] = dose.measured["delay_ms"] = 500;
  dose.witness = probes;
  EXPECT_EQ(dose_summary(dose),
            "delay 500 ms prescribed, 500 ms measured; 0 of 300 probes of shop met the fault");
}

}  // namespace
}  // namespace squall::text
