// Text that comes from the host (names of processes, command lines, paths, answers of the kernel) is bytes:
// anybody may put what is no UTF-8, or escape sequences for a terminal, into it.
#pragma once

#include <string>
#include <string_view>

namespace squall {

// As it may stand in a message or a report: control characters and bytes that are no UTF-8 become \xNN.
std::string printable(std::string_view host_text);

// Only the bytes that are no UTF-8 become `\xNN`, or `\\xNN` inside of JSON, so that it can be read again. A
// text that is UTF-8 stays as it is.
std::string valid_utf8(std::string_view text);
std::string valid_json(std::string_view serialized);

}  // namespace squall
