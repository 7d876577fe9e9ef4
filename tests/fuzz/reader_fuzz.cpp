// Whatever a file holds: no crash, no hang, and every error has a message that a terminal can be shown.

#include <cstdlib>

#include "scenarios/text/document.hpp"
#include "scenarios/text/utf8.hpp"
#include "tests/support/small_vocabulary.hpp"

namespace {

using namespace squall;

void expect(bool condition) {
  if (!condition) std::abort();
}

void check_messages(const Diagnostics& diagnostics) {
  const auto text = diagnostics.render();
  for (std::string_view said = text; !said.empty();) {
    const auto length = sequence_length(said);
    expect(length > 0 && (said[0] == '\n' || !is_control(said.substr(0, length))));
    said.remove_prefix(length);
  }
  for (auto& error : diagnostics.errors())
    expect(!error.message.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Diagnostics in_landscape{"landscape.yaml", text};
  const auto landscape = read_landscape(text, in_landscape);
  check_messages(in_landscape);
  Diagnostics in_scenario{"scenario.yaml", text};
  const auto scenario =
      read_scenario(text, in_landscape.ok() ? landscape : Landscape{}, test::small_vocabulary(), in_scenario);
  check_messages(in_scenario);
  if (!in_scenario.ok()) return 0;
  for (auto& entry : scenario.expect)
    expect(!describe(entry).empty());
  for (auto& entry : scenario.halt_when)
    expect(!describe(entry).empty());
  for (auto& step : scenario.method)
    expect(!step.name.empty() && step.with.kind == Value::Kind::map);
  return 0;
}
