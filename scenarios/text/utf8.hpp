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

// `text` as a terminal, a record and a report may have it, whoever wrote it: controls other than line feed
// and tab, characters that turn the direction of what follows (U+202A to U+202E, U+2066 to U+2069), and bytes
// that are no UTF-8 are written out: "\x1b", "\u202e", "\xff".
std::string printable_text(std::string_view text);

}  // namespace squall
