#include "injector/faults/process/killed_units.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace squall::faults {
namespace {

// Each is a question to systemd.
constexpr std::size_t most_units = 5;

}  // namespace

std::vector<systemd::Unit> units_of(const std::vector<Process>& processes) {
  std::vector<systemd::Unit> out;
  std::vector<std::string> asked;
  for (auto& process : processes) {
    const auto unit = systemd::unit_of(process);
    if (!unit || asked.size() == most_units ||
        std::find(asked.begin(), asked.end(), unit->command("")) != asked.end())
      continue;
    asked.push_back(unit->command(""));
    if (auto found = systemd::look_at(*unit)) out.push_back(std::move(*found));
  }
  return out;
}

std::string used_up(const systemd::Unit& unit, const std::optional<Duration>& every) {
  if (!every || !unit.starts_again() || unit.burst == 0 || unit.interval_ns == 0) return "";
  const auto rhythm = std::max(every->ns, unit.restart_ns);
  if (static_cast<std::uint64_t>(unit.interval_ns / rhythm) < unit.burst) return "";
  return fmt::format(
      "systemd starts {} no more than {} times in {} (StartLimitBurst): kills in this rhythm use that up "
      "within {}, and it then stays dead until `{}` and `{}`",
      unit.name, unit.burst, to_string(Duration{unit.interval_ns}),
      to_string(Duration{rhythm * static_cast<std::int64_t>(unit.burst)}), unit.command("reset-failed"),
      unit.command("start"));
}

Change watch_unit(const systemd::Unit& unit) {
  Change out;
  out.what = fmt::format("see in the end whether systemd still starts {} again", unit.name);
  out.undo_note = fmt::format(
      "nothing to undo; where systemd has given it up by then, that is told, and `{}` makes it startable "
      "again",
      unit.command("reset-failed"));
  // Its result is what killed it last, seldom start-limit-hit.
  out.release = [unit]() -> Undone {
    const auto now = systemd::look_at(unit);
    if (!now || !now->failed() || !now->starts_again() || unit.failed())
      return {UndoOutcome::already, "", ""};
    return {UndoOutcome::conflict,
            fmt::format("systemd has given up {} ({}): it stays dead", unit.name, now->result),
            fmt::format("{} && {}", unit.command("reset-failed"), unit.command("start"))};
  };
  return out;
}

}  // namespace squall::faults
