// Undo is data: each change to a host has an inverse, a plain record of a small closed set, written to the
// journal before the change is made. A process that knows nothing but the journal can carry it out.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace squall {

// One recorded inverse: the verb's name and what it needs, enough to recognise our own work again (an
// interface's name, index and alias; a pid with its start time; the value we wrote beside the one that was
// there).
struct Inverse {
  std::string verb;
  boost::json::object with;
};

enum class UndoOutcome {
  undone,    // we put it back
  already,   // it was as before: nothing to do
  conflict,  // somebody changed it since; left alone
  failed,    // we could not; worth another try
};

struct Undone {
  UndoOutcome outcome = UndoOutcome::undone;
  std::string detail;   // of conflict and failed: what is left and why
  std::string by_hand;  // of conflict and failed: the exact command that finishes the job
  std::string cost;     // what the death of its injector has cost that no undo brings back
};

// One kind of inverse. Idempotent: carrying it out twice is as good as once. Blocks for 500 ms at most.
struct UndoVerb {
  std::string_view name;  // "file.restore"
  std::string (*describe)(const boost::json::object& with);
  Undone (*carry_out)(const boost::json::object& with);
  // What a snapshot has to look at so that it sees whatever this verb, and the change that it takes back, can
  // leave: the first words of its lines ("link", "qdisc").
  std::vector<std::string_view> seen_in = {};
  // Settings of a device that the kernel changes along, below /proc/sys, with * in place of its name: the
  // snapshot looks at those too.
  std::vector<std::string_view> changes_along = {};
};

// The closed set, in undo_catalogue.cpp.
std::span<const UndoVerb* const> undo_verbs();
const UndoVerb* find_undo_verb(std::string_view name);

}  // namespace squall
