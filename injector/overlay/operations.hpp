// The file system: each operation is done on the folder beneath, as whoever asked for it (libfuse's low-level
// API).
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#include <array>
#include <string>

#include "injector/overlay/held_answers.hpp"
#include "injector/overlay/nodes.hpp"

namespace squall::overlay {

// What operations work on: libfuse's userdata.
struct Lower {
  explicit Lower(Shared& all) : shared(all), nodes(all), held(all) {}
  Shared& shared;
  Nodes nodes;
  HeldAnswers held;
};

inline Lower& lower(fuse_req_t request) {
  return *static_cast<Lower*>(fuse_req_userdata(request));
}
inline int descriptor(fuse_req_t request, fuse_ino_t number) {
  return lower(request).nodes.descriptor(number);
}
// A file that is known by its O_PATH descriptor, as a path that system calls without an AT_EMPTY_PATH can
// take.
std::string path_of(int descriptor);
// Answers with 0, or with errno where `result` is negative.
void answer(fuse_req_t, long result);

// While it lives, what this thread makes belongs to whoever asked, with their umask; it may still do whatever
// root may: the kernel has looked at permissions already (default_permissions).
class AsCaller {
 public:
  AsCaller(uid_t, gid_t, mode_t umask);
  ~AsCaller();
  AsCaller(const AsCaller&) = delete;

 private:
  uid_t uid_;
  gid_t gid_;
};

// Describes a file that is there, for the kernel; an errno where it is not (any more). Takes no descriptor
// over.
int describe(Lower&, int folder, const char* name, fuse_entry_param&);
int describe(Lower&, int descriptor_taken_over, fuse_entry_param&);

void add_name_operations(fuse_lowlevel_ops&);
void add_attribute_operations(fuse_lowlevel_ops&);
void add_data_operations(fuse_lowlevel_ops&);
void add_folder_operations(fuse_lowlevel_ops&);

// FUSE_TMPFILE, which libfuse 3.14 does not know: true where the request was one, and is answered.
bool answer_tmpfile(Lower&, int device, const void* request, std::size_t size);

}  // namespace squall::overlay
