// UTF-8 as far as messages need it: what a terminal may be shown, and where.
#pragma once

#include <string>
#include <string_view>

namespace squall {

// The length in bytes of the well-formed sequence at the start of `text`; 0 where there is none.
std::size_t sequence_length(std::string_view text);

// The characters in `text`; a byte that is part of none counts as one.
std::size_t count_characters(std::string_view text);

// C0 and C1 controls and DEL, which a terminal would obey.
bool is_control(std::string_view character);

}  // namespace squall
