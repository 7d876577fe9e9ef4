// Connection tracking of a network namespace (nf_conntrack), which nat chains and ct expressions switch on
// for all traffic in it.
#pragma once

#include <cstdint>
#include <string>

namespace squall {

struct TrackingTable {
  bool known = false;          // the module is there; else most is not known yet
  std::uint64_t tracked = 0;   // entries of the namespace now (nf_conntrack_count)
  std::uint64_t most = 0;      // that the kernel takes, of each namespace (nf_conntrack_max)
  std::uint64_t expected = 0;  // entries for what is there now: sockets of TCP and UDP, and twice those in
                               // TIME_WAIT, which are tracked for twice as long
  bool forwards = false;       // whose connections no socket here tells
  // Nine tenths of the table and more: the kernel drops the packets of new connections when it is full.
  bool would_run_full() const;
  std::string to_string() const;  // "connection tracking is switched on by this for …"
};

// Of the thread's network namespace.
TrackingTable connection_tracking();
// Packets that were dropped because the table was full, so far, in the thread's network namespace.
std::uint64_t dropped_by_full_table();

}  // namespace squall
