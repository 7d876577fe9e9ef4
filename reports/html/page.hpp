// What every report page carries: its style, its script, and the policy that lets nothing else in.
#pragma once

#include <string_view>

namespace squall {

extern const std::string_view page_style;
// Reads values out under the pointer; everything can be read without it.
extern const std::string_view page_script;
// The Content-Security-Policy: no request of any kind, no script but the one above (by its SHA-256).
extern const std::string_view page_policy;

}  // namespace squall
