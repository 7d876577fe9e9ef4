// The few signs of the page: told apart by their shape, so that nothing is said by colour alone.
#pragma once

#include <string>
#include <string_view>

namespace squall::html {

enum class Sign { check, cross, question, stop, warning };

inline std::string icon(Sign sign) {
  constexpr std::string_view head =
      "<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\" fill=\"none\" stroke=\"currentColor\" "
      "stroke-width=\"2.4\" stroke-linecap=\"round\" stroke-linejoin=\"round\">";
  std::string_view body;
  switch (sign) {
    case Sign::check:
      body = "<circle cx=\"12\" cy=\"12\" r=\"10\"/><path d=\"M7.5 12.4l3 3 6-6.6\"/>";
      break;
    case Sign::cross:
      body = "<circle cx=\"12\" cy=\"12\" r=\"10\"/><path d=\"M8.5 8.5l7 7m0-7l-7 7\"/>";
      break;
    case Sign::question:
      body =
          "<circle cx=\"12\" cy=\"12\" r=\"10\"/><path d=\"M9.3 9.4a2.8 2.8 0 1 1 4 2.5c-.9.4-1.3 1-1.3 "
          "1.9\"/><path d=\"M12 17v.1\"/>";
      break;
    case Sign::stop:
      body =
          "<circle cx=\"12\" cy=\"12\" r=\"10\"/><rect x=\"8.5\" y=\"8.5\" width=\"7\" height=\"7\" "
          "fill=\"currentColor\"/>";
      break;
    case Sign::warning:
      body = "<path d=\"M12 3L22 20.5H2Z\"/><path d=\"M12 10v4.5M12 17.4v.1\"/>";
      break;
  }
  return std::string(head) + std::string(body) + "</svg>";
}

}  // namespace squall::html
