// Every kind of inverse there is, on one screen.
#include <vector>

#include "injector/change/inverse.hpp"

namespace squall {
namespace undo {
extern const UndoVerb cgroup_class, cgroup_controller, cgroup_device_limit, kernel_file_restore;
extern const UndoVerb process_continue, process_limit, volume_thaw;
extern const UndoVerb clsact_delete, filter_delete, ifb_delete, interface_mtu, interface_up, link_delete,
    nft_table;
extern const UndoVerb overlay_detach;
}  // namespace undo

std::span<const UndoVerb* const> undo_verbs() {
  static const std::vector<const UndoVerb*> verbs{
      &undo::cgroup_class,   &undo::cgroup_controller, &undo::cgroup_device_limit, &undo::clsact_delete,
      &undo::filter_delete,  &undo::ifb_delete,        &undo::interface_mtu,       &undo::interface_up,
      &undo::link_delete,    &undo::nft_table,         &undo::kernel_file_restore, &undo::process_continue,
      &undo::process_limit,  &undo::volume_thaw,       &undo::link_delete,         &undo::nft_table,
      &undo::overlay_detach,
  };
  return verbs;
}

const UndoVerb* find_undo_verb(std::string_view name) {
  for (auto* verb : undo_verbs())
    if (verb->name == name) return verb;
  return nullptr;
}

}  // namespace squall
