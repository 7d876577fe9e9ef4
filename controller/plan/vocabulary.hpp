// The injector's catalogue as the scenario reader sees it: check and plan work offline.
#pragma once

#include "scenarios/model/reader.hpp"

namespace squall {

const FaultVocabulary& catalogue_vocabulary();

}  // namespace squall
