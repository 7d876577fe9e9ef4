// How the packets of processes are told from those of others: by a network namespace that nobody else is in,
// or by cgroups.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/change/transaction.hpp"
#include "injector/faults/reach.hpp"
#include "injector/host/cgroups/net_cls.hpp"
#include "injector/host/rules/socket_owner.hpp"
#include "injector/system/targets.hpp"
#include "scenarios/text/diagnostics.hpp"

namespace squall::faults {

struct ProcessAim {
  std::uint64_t network_namespace = 0;  // where they are; the injector's own where none are meant
  pid_t namespace_pid = 0;              // a process in it; 0 where it is our own
  std::vector<pid_t> pids;              // theirs
  std::vector<Process> processes;       // those that were meant as it was prepared
  bool alone = false;                   // nobody else is in the namespace: its packets are theirs
  std::vector<SocketCgroup> cgroups;    // by which the kernel knows their sockets, where they were asked for
  std::vector<std::pair<std::string, std::uint64_t>> cgroup_folders;  // of those of v2, each with its id
  std::vector<std::shared_ptr<net_cls::OwnGroup>> own_groups;         // to which they are moved for that
  std::vector<Listener> listeners;  // of those whose arriving packets no socket tells
  std::vector<std::string> limits;

  // Why what runs in them now is not known any more: a supervisor that starts a service anew makes its cgroup
  // anew. "" where they are the same, or nobody is there.
  std::string started_anew() const;
  // Themselves, and whoever is, or comes, where their packets cannot be told from his.
  Reach reach() const;
};

// Which of them runs now outside of all that it was known by, "" where none does: somebody moved it.
std::string moved_away(const std::vector<Process>&, const ProcessAim&);

// Where they are. Reports what is wrong and returns false.
bool find_namespace(const std::vector<Process>&, ProcessAim&, Diagnostics&);
// After find_namespace: by what the kernel knows their packets. `name` is that of what we make for it;
// whoever would be hit beside them has to be permitted.
using Permits = std::function<bool(const Process&)>;
bool recognise(const std::vector<Process>&, const std::string& name, const Permits&, ProcessAim&,
               Diagnostics&);
// Queues what must have been done before rules ask for these cgroups.
void enter_groups(Transaction&, const ProcessAim&);

// For the doctor: how processes are recognised here, and which are not.
std::string how_processes_are_known();

}  // namespace squall::faults
