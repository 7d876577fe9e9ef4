// The method as a whole: its steps against the fault vocabulary, and against each other.
#pragma once

#include "scenarios/model/reader.hpp"

namespace squall {

// Gives steps without a name their fault's, numbered where that is taken.
void name_steps(std::vector<Step>&);

// Unknown faults, wrong parameters and aims, missing `for`, ramps that cannot be, duplicate names, cycles of
// `after`.
void check_method(const Value& text, const std::vector<Step>&, const FaultVocabulary&, Diagnostics&);

}  // namespace squall
