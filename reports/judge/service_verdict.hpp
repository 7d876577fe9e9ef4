// How the users of one service fared, probe by probe. Only verdicts need it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "reports/judge/verdict.hpp"

namespace squall {

// Those that have probes, or that a record has anything of.
std::vector<std::string> services_of(const RunRecord&);
ServiceVerdict observe_service(const RunRecord&, const std::string& service,
                               const std::map<std::string, WindowSpan>& windows);

}  // namespace squall
