#include "injector/doctor.hpp"

#include <fmt/format.h>

#include "injector/fault.hpp"

namespace squall {

boost::json::array doctor_json() {
  boost::json::array out;
  for (auto* fault : fault_catalogue()) {
    bool possible = false;
    std::string mechanism;
    boost::json::array options;
    for (auto& one : fault->doctor()) {
      possible |= one.possible;
      if (one.chosen) mechanism = one.mechanism;
      options.push_back(boost::json::object{{"mechanism", one.mechanism},
                                            {"possible", one.possible},
                                            {"chosen", one.chosen},
                                            {"missing", one.missing},
                                            {"note", one.note},
                                            {"measures", one.measures}});
    }
    out.push_back(boost::json::object{{"fault", fault->name}, {"possible", possible}, {"mechanism", mechanism}, {"options", std::move(options)}});
  }
  return out;
}

std::string doctor_text() {
  std::string out;
  for (auto* fault : fault_catalogue()) {
    const auto options = fault->doctor();
    const bool possible = std::any_of(options.begin(), options.end(), [](auto& one) { return one.possible; });
    out += fmt::format("{} {}\n", possible ? "✓" : "✗", fault->name);
    for (auto& one : options) {
      out += fmt::format("    {} {}{}\n", one.possible ? "✓" : "✗", one.mechanism, one.chosen ? "  ← would be used" : "");
      if (!one.possible && !one.missing.empty()) out += fmt::format("        missing: {}\n", one.missing);
      if (one.possible && !one.note.empty()) out += fmt::format("        {}\n", one.note);
      if (one.possible && !one.measures.empty()) out += fmt::format("        measured: {}\n", one.measures);
    }
  }
  return out;
}

}  // namespace squall
