// What squall and squall-injector say to each other: one JSON object a line, over whatever carries lines.
//
// Requests carry "id" and "do"; each is answered by {"id": …, "ok": true, …} or {"id": …, "ok": false, "error": "…",
// "kind": "input|refused|conflict|failed"}. Times are CLOCK_REALTIME nanoseconds ("…_at"), durations nanoseconds ("…_ns").
//
//   hello    {version, environment?, run?, lease_ns?}    → {version, host, boot_id, kernel, pid, session, capabilities}
//   doctor   {}                                          → {faults: [{fault, possible, mechanism, options: [Capability…]}]}
//   plan     {fault, on, with, seed?}                    → {mechanism, targets, claims, limits, changes: [{do, undo}]}
//   resolve  {on}                                        → {processes: [{pid, exe, command, cgroup, started_at}]}
//   snapshot {}                                          → {} ; keeps the host's state as the one to compare with
//   diff     {}                                          → {clean, differences: [text…]} against the snapshot
//   prepare  {step, fault, on, with, seed?}              → {mechanism, targets, claims, limits} ; looks everything up for an
//            apply of that step that says no fault: it acts at once
//   apply    {step, fault?, on, with, for_ns?, ramp_up_ns?, seed}
//            → {step, mechanism, targets, limits, applied_at, apply_ns}   when the fault is in force, undo durable
//   dose     {step}                                      → {dose}
//   undo     {step}                                      → {step, undone_at, undo_ns, clean, left: [{detail, by_hand}], dose}
//   undo_all {}                                          → {clean, left}
//   renew    {}                                          → {} ; extends the lease by lease_ns (10 s by default)
//   bye      {}                                          → {clean, left, ended: [text…], differences?: [text…],
//            see?: [command…]} ; undoes everything, ends what goes on behind it for others (connections through a proxy),
//            compares with the snapshot ("see" shows what differs), then the injector ends
//
// Without being asked the injector sends
//   {"event": "dose",   "step", "at", "dose"}            while a fault is in force, about four times a second
//   {"event": "fault",  "step", "at", "what", …}         what a fault noticed: process.died, process.returned, fault.unattended …
//   {"event": "undone", "step", "at", "why", "clean", "left", "dose"}   undone by itself: its time was over, lease, policy
//   {"event": "leaving", "at", "why"}                   the session ends by itself ("SIGTERM", `squall undo`): what is in force
//                                                        is undone next, each with an "undone" of its own
//   {"event": "left",   …}                               then, its last word: what "bye" would have been answered
//   {"event": "log",    "level", "text"}
//
// End of file on the link is the end of the lease: everything is undone at once.
#pragma once

#include <csignal>

namespace squall {
inline constexpr int protocol_version = 1;
inline constexpr long long default_lease_ns = 10'000'000'000;
// How `squall undo` asks a session to undo everything and to end, and the "why" that is then told.
inline constexpr int undo_signal = SIGUSR1;
inline constexpr char undone_by_hand[] = "`squall undo`";
}  // namespace squall
