// What squall and squall-injector say to each other: one JSON object a line, over whatever carries lines.
//
// Requests carry "id" and "do"; each is answered by {"id": …, "ok": true, …} or {"id": …, "ok": false,
// "error": "…", "kind": "input|absent|refused|conflict|failed"}; absent: what is meant is not there now.
// Times are CLOCK_REALTIME nanoseconds ("…_at"), durations nanoseconds ("…_ns").
//
// A request that cannot be read or is longer than `longest_request` is answered as "input", with its id where
// that can be seen, else null. Bytes of the host that are no UTF-8 are told as \\xNN.
//
//   hello    {version, environment?, run?, lease_ns?}    → {version, host, boot_id, kernel, pid, session,
//   capabilities, clock} ; nothing
//            is prepared or applied before one that the host agrees to
//   doctor   {}                                          → {faults: [{fault, possible, mechanism, options:
//   [Capability…]}],
//            policy: {source, findings: [text…]}}
//   plan     {fault, on, with, seed?, for_ns?}           → {mechanism, targets, claims, limits, changes:
//   [{do, undo}]} resolve  {on}                                        → {processes: [{pid, exe, command,
//   cgroup, started_at}]} snapshot {}                                          → {} ; keeps the host's state
//   as the one to compare with diff     {}                                          → {clean, differences:
//   [text…]} against the snapshot prepare  {step, fault, on, with, seed?, for_ns?}     → {mechanism, targets,
//   claims, limits} ; looks everything up for an
//            apply of that step that says no fault: it acts at once. So many steps at most are kept
//   apply    {step, fault?, on, with, for_ns?, ramp_up_ns?, seed}
//            → {step, mechanism, targets, limits, applied_at, apply_ns}   when the fault is in force, undo
//            durable. Without for_ns an act goes on until it is undone, but no longer than the host's policy
//            lets any fault
//   dose     {step}                                      → {dose}
//   probes   {step, service, ends: ["tcp 10.0.0.1:4711"…]} → {} ; the askers' own ends of connections by
//   which that service was
//            probed while the step was in force: whether the fault met them is told with its dose
//   undo     {step}                                      → {step, undone_at, undo_ns, clean, left: [{detail,
//   by_hand}], dose} undo_all {}                                          → {clean, left} renew    {} →
//   {clock} ; extends the lease by lease_ns (10 s by default); clock is its
//            CLOCK_REALTIME, so that the caller can tell how far apart theirs are
//   bye      {}                                          → {clean, left, ended: [text…], differences?:
//   [text…],
//            see?: [command…], meanwhile?: [text…]} ; undoes everything, ends what goes on behind it for
//            others (connections through a proxy), compares with the snapshot ("see" shows what differs;
//            "meanwhile" is what no fault of the session had to do with, and others changed), then the
//            injector ends
//
// Without being asked the injector sends
//   {"event": "dose",   "step", "at", "dose"}            while a fault is in force, about four times a second
//   {"event": "fault",  "step", "at", "what", …}         what a fault noticed: process.died,
//   process.returned, fault.unattended …
//   {"event": "undone", "step", "at", "why", "clean", "left", "dose"}   undone by itself: its time was over,
//   lease, policy
//   {"event": "leaving", "at", "why"}                   the session ends by itself ("SIGTERM", `squall
//   undo`): what is in force
//                                                        is undone next, each with an "undone" of its own
//   {"event": "left",   …}                               then, its last word: what "bye" would have been
//   answered
//   {"event": "log",    "level", "text"}
//
// End of file on the link is the end of the lease: everything is undone at once.
#pragma once

#include <csignal>
#include <cstddef>

namespace squall {
inline constexpr int protocol_version = 1;
inline constexpr long long default_lease_ns = 10'000'000'000;
// Bytes of one line with its newline. A request that is longer is answered so and passed over; 65,536 samples
// fit.
inline constexpr std::size_t longest_request = 2 << 20;
inline constexpr std::size_t longest_answer = 16 << 20;
// How `squall undo` asks a session to undo everything and to end, and the "why" that is then told.
inline constexpr int undo_signal = SIGUSR1;
inline constexpr char undone_by_hand[] = "`squall undo`";
}  // namespace squall
