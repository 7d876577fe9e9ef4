// Closes what the kernel takes long to close.
#pragma once

#include "injector/system/process.hpp"

namespace squall {

// Closing a netfilter socket or a tap device waits for a grace period of RCU (nft_rcv_nl_event in
// net/netfilter/nf_tables_api.c, netdev_run_todo in net/core/dev.c), tens of milliseconds in which nothing
// depends on us: a thread of its own waits instead.
void close_later(Fd);
// The same where many are closed at once: they wait beside each other instead of in turn.
void close_abreast(Fd);

}  // namespace squall
