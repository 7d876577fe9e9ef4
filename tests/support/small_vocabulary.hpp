// Three faults that readers can be tried with, without the injector.
#pragma once

#include "scenarios/model/reader.hpp"

namespace squall::test {

const FaultVocabulary& small_vocabulary();

}  // namespace squall::test
