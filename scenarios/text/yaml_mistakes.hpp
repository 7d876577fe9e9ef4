// What people get wrong in YAML, told in their own terms where the parser's message, or its silence, does not
// help.
#pragma once

#include <string_view>

#include "scenarios/text/diagnostics.hpp"

namespace squall {

// Whether the value that begins at `at` starts with a quote that is never closed: the parser takes everything
// up to the end of the text then.
bool is_unclosed_quote(std::string_view text, std::size_t at);

// The parser stopped at `at` (which is `place`) with this message.
Diagnostic explain(std::string_view message, std::string_view text, std::size_t at, Place place);

}  // namespace squall
