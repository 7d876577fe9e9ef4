// A step on several hosts: whether it was in force on all of them at once, and how far apart it began.
#pragma once

#include "reports/record/record.hpp"

namespace squall {

// Adds to each dose of such a step what the hosts together tell: "began_apart_ns"; and takes back "verified"
// where there was no moment at which all of them had it.
void judge_at_once(RunRecord&);

}  // namespace squall
