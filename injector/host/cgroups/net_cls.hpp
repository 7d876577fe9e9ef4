// Class ids of net_cls (cgroup v1): by them the kernel tells whose sockets packets are of where it cannot by
// cgroup v2. Unlike there, a process's sockets follow it when it is moved (net/core/netclassid_cgroup.c).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "injector/change/transaction.hpp"
#include "injector/host/cgroups/cgroup.hpp"
#include "injector/system/targets.hpp"

namespace squall::net_cls {

// Where it is mounted; an error, for a person, where it is not or must not be used.
tl::expected<cgroup::Hierarchy, std::string> hierarchy();

// A group of our own below that of some processes, which it takes in, with a class id that nobody else has.
// All faults of this process that mean them share it: a socket has one class.
class OwnGroup {
 public:
  OwnGroup(cgroup::Group parent, const std::string& name, std::uint32_t class_id);
  std::uint32_t class_id() const { return class_id_; }
  const cgroup::Group& parent() const { return parent_; }
  const cgroup::Group& group() const { return own_; }
  const std::vector<Process>& members() const { return members_; }
  void add(const Process& process) { members_.push_back(process); }

  // The acts of the verb below: the first one moves them in, the last one back.
  void enter();
  Undone leave();
  Inverse inverse() const;

 private:
  void take_in();

  cgroup::Group parent_, own_;
  std::uint32_t class_id_, born_with_;
  std::vector<Process> members_;
  int users_ = 0;
};

// What the sockets of some processes are known by, or will be.
struct Recognition {
  std::vector<std::uint32_t> class_ids;
  std::vector<std::shared_ptr<OwnGroup>> own;  // to be entered first
  std::vector<Process> others;                 // who has one of these class ids too
};
// `name` is that of groups we make. Changes nothing. An error is for a person.
tl::expected<Recognition, std::string> recognise(const std::vector<Process>&, const std::string& name);

// Moves the members in. Its inverse moves back whoever is there by then and removes the group.
void enter(Transaction&, std::shared_ptr<OwnGroup>);

}  // namespace squall::net_cls
