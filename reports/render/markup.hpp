// Text that came from outside, made harmless in the markup it is put into.
#pragma once

#include <string>
#include <string_view>

namespace squall::markup {

// For XML and HTML, in elements and in quoted attributes. Characters that XML 1.0 forbids and bytes that are
// not UTF-8 become U+FFFD.
std::string xml(std::string_view);
// For Markdown: a table's cell, or a line of text.
std::string markdown(std::string_view);
// JSON text for a <script type="application/json">: it can neither end the script nor begin a comment.
std::string script_json(std::string_view json);

}  // namespace squall::markup
