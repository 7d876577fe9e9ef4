// Network namespaces by the inode of their nsfs file (namespaces(7)).
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/system/process.hpp"

namespace squall {

// The namespace of the calling thread; 0 where it cannot be told.
std::uint64_t current_network_namespace();

// Those that a process is in or that have a name in /run/netns, as far as we may look.
std::set<std::uint64_t> network_namespaces();

// Opens a network namespace by its inode, through a process in it or a name in /run/netns; empty where none
// is found. `hint`, a pid, is looked at first.
Fd open_network_namespace(std::uint64_t inode, pid_t hint = 0);

// What no other network namespace ever gets, unlike its inode, which the kernel gives to the next one once it
// is gone. 0 where there is none, it may not be entered, or the kernel is older than 5.14 (SO_NETNS_COOKIE).
std::uint64_t network_namespace_cookie(std::uint64_t inode, pid_t hint = 0);

// That of the calling thread; 0 where there is none.
std::uint64_t current_network_namespace_cookie();

// The processes whose first threads are in the network namespace that this one's is in, itself among them.
std::vector<pid_t> processes_beside(pid_t);

// Calls `act` in the namespace: directly where the thread is in it already, else on a thread of its own,
// since only that may leave its namespace without harm to others (setns(2)). Exceptions of `act` come
// through; throws std::runtime_error where the namespace cannot be entered. `inode` 0 means the caller's own.
void in_network_namespace(std::uint64_t inode, pid_t hint, const std::function<void()>& act);

// The same, but false, and nothing done, where the namespace is not there any more.
bool in_network_namespace_if_there(std::uint64_t inode, pid_t hint, const std::function<void()>& act);

// Why `act` fails in a network namespace that nobody else is in, with what it needs ("needs Linux 5.12"); ""
// where it does not.
std::string refusal_in_fresh_namespace(const std::string& needs, const std::function<void()>& act);

}  // namespace squall
