// What can be done about a host from outside a session: see what is in force, undo it all, clean up after a
// crash or a reboot.
#pragma once

#include <string>

namespace squall {

// {"active": [{step, fault, session, run, pid, since, until, mechanism, owner_alive, undo: […]}], "damaged":
// [journal…], "elsewhere": [{session, state, text, undo}]}, times in RFC 3339 and "until" null where a fault
// lasts until it is undone; or lines for people. "elsewhere" is what other state folders have in force, and
// what nobody knows of.
int show_status(const std::string& state, bool json);
// Live injectors are told to undo and leave, which halts their drills (those that do not are killed, so that
// their guardians undo); dead journals are carried out. As JSON {clean, sessions, carried_out: [session…],
// left, costs, ended: [session…], elsewhere}: "ended" are those whose journal was carried out to its end when
// they were dead, by whomever, within the last minute or so. 0, or 6 with what is left and the commands that
// remove it.
int undo_host(const std::string& state, bool json);
// For a caller whose injector says nothing any more: where it is stopped or frozen, it is woken to undo and
// leave, or killed and its journal carried out. {"suspended": false} where it only is slow; else as `recover`
// tells it.
int rescue_session(const std::string& state, const std::string& session);
// Carries out the journals of dead injectors only: after a crash or a reboot.
int recover_host(const std::string& state, bool json);

}  // namespace squall
