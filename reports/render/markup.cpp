#include "reports/render/markup.hpp"

#include <cstdint>

namespace squall::markup {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

// The length of the well-formed UTF-8 sequence at the start of `text` (RFC 3629), 0 where there is none.
std::size_t sequence(std::string_view text, std::uint32_t& code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  if (lead < 0x80) {
    code = lead;
    return 1;
  }
  const std::size_t length = lead >= 0xf0 && lead < 0xf5   ? 4
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                                                           : 0;
  if (!length || text.size() < length) return 0;
  code = lead & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : length;
}

bool allowed_in_xml(std::uint32_t code) {
  return code >= 0x20 ? code != 0x7f && code != 0xfffe && code != 0xffff
                      : code == '\t' || code == '\n' || code == '\r';
}

// Calls `each` with every well-formed character; what is not one becomes U+FFFD.
template <class Each>
void characters(std::string_view text, const Each& each) {
  while (!text.empty()) {
    std::uint32_t code = 0;
    const auto length = sequence(text, code);
    each(length && allowed_in_xml(code) ? text.substr(0, length) : replacement);
    text.remove_prefix(length ? length : 1);
  }
}

}  // namespace

std::string xml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  characters(text, [&](std::string_view c) {
    if (c == "&")
      out += "&amp;";
    else if (c == "<")
      out += "&lt;";
    else if (c == ">")
      out += "&gt;";
    else if (c == "\"")
      out += "&quot;";
    else if (c == "'")
      out += "&#39;";
    else
      out += c;
  });
  return out;
}

std::string markdown(std::string_view text) {
  static constexpr std::string_view special = "\\`*_{}[]<>#|~&";
  std::string out;
  characters(text, [&](std::string_view c) {
    if (c == "\n" || c == "\r" || c == "\t") {
      out += ' ';
      return;
    }
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  });
  return out;
}

std::string script_json(std::string_view json) {
  std::string out;
  characters(json, [&](std::string_view c) {
    if (c == "<")
      out += "\\u003c";
    else if (c == ">")
      out += "\\u003e";
    else if (c == "&")
      out += "\\u0026";
    else if (c == "\xE2\x80\xA8")
      out += "\\u2028";
    else if (c == "\xE2\x80\xA9")
      out += "\\u2029";
    else
      out += c;
  });
  return out;
}

}  // namespace squall::markup
