// Carrying out what a journal says: from inside a session, and in place of one that is dead.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "injector/undo/journal.hpp"

namespace squall {

// What could not be undone, for a person.
struct Left {
  std::string step, detail, by_hand;
  bool try_again = false;  // it failed; a conflict is for a person to decide
  boost::json::object json() const;
};

// What nobody brings back when an injector dies: packets that waited in it.
struct Cost {
  std::string step, text;
  boost::json::object json() const;
};

using FindUndoVerb = const UndoVerb* (*)(std::string_view);

// One inverse, tried again a few times (for 350 ms) where it failed; nothing where it is done. Never throws.
std::optional<Left> carry_out(const std::string& step, const Inverse&, FindUndoVerb = find_undo_verb,
                              std::vector<Cost>* = nullptr);

// Every open inverse of a dead session, last change first; removes the journal when nothing is left. What
// lived in the kernel alone is gone after a reboot, so of another boot's journal only the "file." verbs are
// carried out. Two processes that do this at once take turns: `by_us` is set where it was not the other one
// who finished it. What the death has cost is noted beside the journal. Never throws.
std::vector<Left> carry_out_journal(const std::string& path, FindUndoVerb = find_undo_verb,
                                    bool* by_us = nullptr);
// The same of one that the caller holds open, whatever became of its name and its folder: where something is
// left it is at `path` again.
std::vector<Left> carry_out_journal(const Fd& held, const std::string& path, FindUndoVerb = find_undo_verb,
                                    bool* by_us = nullptr);

// The costs that were noted below the state folder, once: they are forgotten then. Never throws.
std::vector<Cost> take_costs(const std::string& state);

}  // namespace squall
