// Every kind of inverse there is, on one screen.
#include <vector>

#include "injector/inverse.hpp"

namespace squall {
namespace undo {
}  // namespace undo

std::span<const UndoVerb* const> undo_verbs() {
  static const std::vector<const UndoVerb*> verbs{
  };
  return verbs;
}

const UndoVerb* find_undo_verb(std::string_view name) {
  for (auto* verb : undo_verbs())
    if (verb->name == name) return verb;
  return nullptr;
}

}  // namespace squall
