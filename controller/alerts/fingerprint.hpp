// Prometheus' own fingerprint of a set of labels: what joins the alerts of all sources.
#pragma once

#include <map>
#include <string>

namespace squall {

// FNV-1a (64 bit) over name, 0xff, value, 0xff of every label in the order of the names; 16 hex digits
// (github.com/prometheus/common, model/signature.go).
std::string fingerprint(const std::map<std::string, std::string>& labels);

}  // namespace squall
