// Leads packets over a device of our own (ifb) by a filter behind clsact (tc(8)). A root qdisc of somebody
// else is never touched: replacing one drops what waits in it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <linux/filter.h>

#include "injector/change/transaction.hpp"

namespace squall::traffic_control {

// Where something is, to be found again by another process.
struct Place {
  std::uint64_t network_namespace = 0;
  pid_t namespace_pid = 0;
};

enum class Hook { egress, ingress };

struct Filter {
  std::uint16_t priority = 0;
  std::uint32_t handle = 0;
  std::string kind;
  std::string digest;                   // of its classic BPF program
  std::vector<std::uint32_t> leads_to;  // devices that its actions copy packets or redirect them to
  std::uint32_t to = 0;                 // where its last action redirects to
  std::uint64_t dropped =
      0;  // packets that this action could not redirect, and that are lost: the device is gone or down
};
std::vector<Filter> filters(std::uint32_t interface, Hook);
// Where packets of other devices are led to this one, of whosever filters: "egress of eth0, preference
// 40000". "" where none are.
std::string led_here(std::uint32_t interface);
// Whether others look at packets there before a filter of ours would: filters, or programs of tcx
// (Linux 6.6). One that decides ends the classification.
bool classified(std::uint32_t interface, Hook);
// Whether the device has clsact, or the older ingress in its place.
enum class Anchor { none, clsact, ingress };
Anchor anchor(std::uint32_t interface);

// A filter that add_redirect queued, known by what nobody else's has.
struct Redirect {
  std::uint32_t interface = 0;
  Hook hook = Hook::egress;
  std::uint16_t priority = 0;
  std::string digest;
};
// The one in the kernel; nothing where it is gone, or another is in its place.
std::optional<Filter> find(const Redirect&);
// Packets go their way from then on. Nothing where it is not there.
void remove(const Redirect&);

// The verbs. Errors name what the change says it does.

// An ifb, raised. Removing it waits until the netem at its root is empty, for 450 ms at most.
// Its alias is the given one and its name, by which it is found whatever its name is later.
void add_ifb(Transaction&, const Place&, const std::string& name, const std::string& alias);
std::string alias_of_ifb(const std::string& alias, const std::string& name);
// Where the device has none. It is removed again once nobody's filters are left in it.
void add_clsact(Transaction&, const Place&, const std::string& device, std::uint32_t interface);
// A filter that comes after every other of that hook and leads what `program` matches to the device `to`, a
// copy of it to the device `copy`.
Redirect add_redirect(Transaction&, const Place&, const std::string& device, std::uint32_t interface, Hook,
                      const std::vector<sock_filter>& program, const std::string& to, const std::string& copy,
                      const std::string& what);

}  // namespace squall::traffic_control

namespace squall::undo {
extern const UndoVerb ifb_delete, clsact_delete, filter_delete;
}
