#include "injector/system/host_text.hpp"

#include <fmt/format.h>

#include "scenarios/text/utf8.hpp"

namespace squall {
namespace {

// Bytes that begin no character, and, where they are asked for, controls as well.
std::string escaped(std::string_view text, bool controls, std::string_view backslash) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto length = sequence_length(text);
    const auto character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length && !(controls && is_control(character)))
      out += character;
    else
      for (auto byte : character)
        out += fmt::format("{}x{:02x}", backslash, static_cast<unsigned char>(byte));
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace

std::string printable(std::string_view host_text) {
  return escaped(host_text, true, "\\");
}
std::string valid_utf8(std::string_view text) {
  return escaped(text, false, "\\");
}
std::string valid_json(std::string_view serialized) {
  return escaped(serialized, false, "\\\\");
}

}  // namespace squall
