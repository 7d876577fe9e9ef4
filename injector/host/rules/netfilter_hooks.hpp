// What the kernel does to everybody when a netfilter hook comes or goes, and how not to.
#pragma once

#include <cstdint>

namespace squall {

// Where the receiving socket of a packet is known, behind the usual firewalls, before what tracks connections
// ends there.
constexpr std::int32_t last_in_input = 200;

// Whoever puts a hook before others makes the kernel lead what waits in a queue of theirs there once more
// (nf_reinject in net/netfilter/nf_queue.c counts on from the place of the hook): so each priority that this
// gives is behind those it gave before, from `first` on, in a range of 80.
std::int32_t behind_ours(std::int32_t first);
// The kernel patches its own code when the first netfilter hook of a kind is registered anywhere, and when
// the last one goes (the static keys nf_hooks_needed in net/netfilter/core.c): half a millisecond each, on a
// host without a firewall. Keeps one of each kind in a network namespace where nobody is, as long as the
// process lives. Once; never throws.
void keep_hooks_switched_on();

}  // namespace squall
