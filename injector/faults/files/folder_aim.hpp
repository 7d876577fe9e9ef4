// Which folder of which mount namespace a fault on files is aimed at, and who has files open there already.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "injector/faults/fault.hpp"
#include "injector/overlay/overlay.hpp"
#include "injector/system/targets.hpp"

namespace squall::faults {

// A process that has something of the folder since before an overlay: faults do not reach it.
struct Holder {
  Process process;
  std::size_t descriptors = 0, maps = 0;
  bool working_folder = false;
  std::string to_string() const;
};

struct FolderAim {
  overlay::Place place;
  std::vector<Process> users;  // those that were selected, or, by path alone, those who hold something of it
  std::vector<Holder> holders;
  std::string disk;  // "8:1"; of the file system beneath
};

// `path` is needed; keys of processes say in whose mount namespace. Errors are texts for a person.
tl::expected<FolderAim, std::string> find_folder(const TargetSpec&, const Setting&);

}  // namespace squall::faults
