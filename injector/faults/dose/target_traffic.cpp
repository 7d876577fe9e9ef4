#include "injector/faults/dose/target_traffic.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include <netinet/in.h>

#include <linux/rtnetlink.h>

#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/system/listeners.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

// A look takes no more than one part in so many of the time, however many sockets there are.
constexpr std::int64_t part_of_time = 50;
constexpr std::int64_t between_descriptors_ns = 1'000'000'000;
// Of translations asked for in one look; further connections of the same port are taken to be like those.
constexpr int most_look_ups = 32;
// So few segments may pass while the rules come into force.
constexpr std::uint64_t few_segments = 8;

bool within(const Endpoint& endpoint, const Prefix& peer) {
  if (endpoint.v6 != peer.v6) return false;
  const auto mask = peer.mask();
  for (std::size_t i = 0; i < peer.bytes(); ++i)
    if ((endpoint.address[i] & mask[i]) != peer.address[i]) return false;
  return true;
}

bool among(std::uint16_t port, const std::vector<std::uint16_t>& ports) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

const Endpoint& beginner(const TcpSocket& socket, bool accepted) {
  return accepted ? socket.remote : socket.local;
}

// Prescribed or not, of one in two it can be said that most met it.
bool most(std::uint64_t some, std::uint64_t others) {
  return some > 0 && some >= others;
}

std::string_view unit_of(CountedBy by) {
  return by == CountedBy::connections ? "connections" : by == CountedBy::exchanges ? "exchanges" : "segments";
}

bool same_address(const Endpoint& a, const Endpoint& b) {
  return a.v6 == b.v6 && a.address == b.address;
}

}  // namespace

std::uint64_t TargetTraffic::Sum::of(CountedBy by) const {
  switch (by) {
    case CountedBy::segments_out:
      return segments_out;
    case CountedBy::segments_in:
      return segments_in;
    case CountedBy::segments:
      return segments_in + segments_out;
    case CountedBy::connections:
      return connections;
    case CountedBy::exchanges:
      return exchanges;
  }
  return 0;
}

TargetTraffic::TargetTraffic(MeantConnections what) : what_(std::move(what)) {}
TargetTraffic::~TargetTraffic() = default;

void TargetTraffic::begin() {
  if (what_.match.protocol != Protocol::any && what_.match.protocol != Protocol::tcp) return;
  try {
    in_network_namespace(what_.network_namespace, what_.namespace_pid, [&] {
      sockets_ = std::make_unique<TcpSockets>();
      // Asking where nobody tracks would load the kernel's module for it.
      if (::access("/proc/sys/net/netfilter/nf_conntrack_max", F_OK) == 0)
        tracking_ = std::make_unique<ConnectionTracking>();
      routes_ = std::make_unique<netlink::Socket>(NETLINK_ROUTE);
    });
  } catch (const std::exception&) {
    refused_ = true;
    return;
  }
  look_at_descriptors();
  std::vector<TcpSocket> all;
  refused_ = !sockets_->each([&](auto& socket) { all.push_back(socket); });
  for (const bool listens : {true, false})
    for (auto& socket : all)
      if (socket.listens == listens) take(socket, true);
}

void TargetTraffic::look() {
  if (!sockets_ || refused_) return;
  look_ups_left_ = most_look_ups;
  missed_ |= !sockets_->each_ended([&](auto& socket) { take_ended(socket); });
  const auto begin = monotonic_ns();
  if (begin < next_look_) return;
  if (begin >= next_descriptors_) look_at_descriptors();
  for (auto& [cookie, one] : known_)
    ++one.looks_without;
  std::vector<TcpSocket> all;
  sockets_->each([&](auto& socket) { all.push_back(socket); });
  for (const bool listens : {true, false})
    for (auto& socket : all)
      if (socket.listens == listens) take(socket, false);
  // Those that ended while we looked.
  missed_ |= !sockets_->each_ended([&](auto& socket) { take_ended(socket); });
  for (auto it = known_.begin(); it != known_.end();) {
    decide(it->second);
    // What a connection has done in the end is told a moment after it is gone.
    const bool gone = it->second.looks_without > 1;
    if (gone) settle(it->second);
    it = gone ? known_.erase(it) : std::next(it);
  }
  judge_probes();
  next_look_ = monotonic_ns() + (monotonic_ns() - begin) * part_of_time;
}

void TargetTraffic::end() {
  next_look_ = next_descriptors_ = 0;
  look();
  judge_probes();
  sockets_.reset();
  tracking_.reset();
  routes_.reset();
}

// Whom a mechanism of ours made.
bool TargetTraffic::is_own(const TcpSocket& socket) const {
  return own->has(socket.local);
}

void TargetTraffic::take(const TcpSocket& socket, bool first) {
  if (socket.listens) {
    listening_[socket.local.port] = socket.cgroup;
    const bool made_in_it = std::any_of(what_.cgroups.begin(), what_.cgroups.end(), [&](auto& one) {
      return one.class_id ? one.class_id == socket.cgroup.class_id : one.id == socket.cgroup.id;
    });
    if (made_in_it || inodes_.contains(socket.inode)) targets_ports_.insert(socket.local.port);
    return;
  }
  if (is_own(socket)) return;
  const bool accepted = listening_.contains(socket.local.port);
  const bool fresh = !known_.contains(socket.cookie);
  if (fresh && !is_targets(socket, accepted).value_or(true)) return;
  auto& one = known_[socket.cookie];
  if (fresh) {
    one.accepted = accepted;
    one.existed = first;
    if (first) one.then = socket;
  }
  one.now = socket;
  one.looks_without = 0;
  if (!one.meant) {
    const auto targets = is_targets(socket, one.accepted);
    if (targets) one.meant = *targets && is_meant(socket, one.accepted);
  }
}

void TargetTraffic::take_ended(const TcpSocket& socket) {
  const auto found = known_.find(socket.cookie);
  if (found == known_.end()) {
    if (is_own(socket)) return;
    // Came and went between two looks.
    Known one;
    one.now = socket;
    const auto listener = listening_.find(socket.local.port);
    one.accepted = listener != listening_.end();
    if (one.accepted) one.now.cgroup = listener->second;
    one.meant = is_targets(socket, one.accepted).value_or(false) && is_meant(socket, one.accepted);
    decide(one);
    return settle(one);
  }
  // Of a socket that is gone the kernel tells less.
  auto ended = socket;
  ended.inode = found->second.now.inode;
  ended.cgroup = found->second.now.cgroup;
  found->second.now = ended;
  decide(found->second);
  settle(found->second);
  known_.erase(found);
}

// Nothing where it may turn out when the processes' descriptors are looked at again.
std::optional<bool> TargetTraffic::is_targets(const TcpSocket& socket, bool accepted) const {
  if (what_.everybody) return true;
  if (what_.listener) return accepted && socket.local.port == *what_.listener;
  if (accepted && targets_ports_.contains(socket.local.port)) return true;
  if (std::any_of(what_.cgroups.begin(), what_.cgroups.end(), [&](auto& one) {
        return one.class_id ? one.class_id == socket.cgroup.class_id : one.id == socket.cgroup.id;
      }))
    return true;
  if (socket.inode && inodes_.contains(socket.inode)) return true;
  return std::nullopt;
}

bool TargetTraffic::is_meant(const TcpSocket& socket, bool accepted) {
  if (what_.made_here && accepted) return false;
  const auto& match = what_.match;
  if (among(socket.local.port, match.exempt) || among(socket.remote.port, match.exempt)) return false;
  for (auto& condition : match.ports)
    if (!among(socket.remote.port, condition.ports) &&
        (what_.made_here || !among(socket.local.port, condition.ports)))
      return false;
  auto of = [&](const std::vector<Prefix>& all) {
    return std::any_of(all.begin(), all.end(), [&](auto& peer) { return within(socket.remote, peer); });
  };
  if (of(match.exempt_peers) || of(match.left_out) || (!match.peers.empty() && !of(match.peers)))
    return false;
  return what_.devices.empty() || by_device(socket);
}

// The device by which what it sends leaves, as the kernel would route it now. Addresses of this host are
// reached by lo.
bool TargetTraffic::by_device(const TcpSocket& socket) {
  constexpr std::uint32_t loopback = 1;
  std::uint32_t device = same_address(socket.local, socket.remote) ? loopback : 0;
  if (!device && routes_) {
    const std::size_t size = socket.remote.v6 ? 16 : 4;
    rtmsg request{};
    request.rtm_family = socket.remote.v6 ? AF_INET6 : AF_INET;
    request.rtm_dst_len = request.rtm_src_len = static_cast<std::uint8_t>(8 * size);
    netlink::Messages messages;
    messages.begin(RTM_GETROUTE, NLM_F_ACK, request);
    messages.bytes(RTA_DST, socket.remote.address.data(), size);
    messages.bytes(RTA_SRC, socket.local.address.data(), size);
    routes_->exchange(messages, [&](const nlmsghdr* message) {
      if (message->nlmsg_type != RTM_NEWROUTE) return;
      const auto* found = static_cast<const rtmsg*>(nlmsg_data(message));
      device = found->rtm_type == RTN_LOCAL
                   ? loopback
                   : netlink::value<std::uint32_t>(netlink::find(message, sizeof *found, RTA_OIF));
    });
  }
  return std::find(what_.devices.begin(), what_.devices.end(), device) != what_.devices.end();
}

void TargetTraffic::decide(Known& one) {
  if (!one.meant.value_or(false) || one.met) return;
  const auto& begun_by = beginner(one.now, one.accepted);
  seen_.add(begun_by);
  if (meets) {
    look_up(one);
    auto mine = one.now.local, peers = one.now.remote;
    if (one.translation && one.accepted) mine = one.translation->asked;
    if (one.translation && !one.accepted) mine = one.translation->seen_as, peers = one.translation->reached;
    one.met = meets(mine, peers);
    if (one.met) met->add(begun_by);
    return;
  }
  one.met = met->has(begun_by) || own->has(begun_by);
  if (one.met) return;
  look_up(one);
  // Its packets may carry another address where the fault sees them.
  if (one.translation && !one.translation->is_none()) {
    const auto& end = one.accepted ? one.translation->client : one.translation->seen_as;
    one.met = met->has(end) || own->has(end);
  }
  if (!samples || one.met || !why_passed(one).empty()) return;
  one.met = true;
  met->add(begun_by);
}

void TargetTraffic::look_up(Known& one) {
  if (one.looked_up) return;
  const auto port = one.accepted ? one.now.local.port : std::uint16_t{0};
  if (look_ups_left_ <= 0 || !tracking_) {
    // Like the last one of its port: the addresses are of no other connection.
    const auto like = translations_.find(port);
    if (like == translations_.end() || !like->second || !one.accepted) return;
    one.translation = Translation{.client = one.now.remote,
                                  .asked = like->second->asked,
                                  .seen_as = one.now.remote,
                                  .reached = one.now.local};
    return;
  }
  --look_ups_left_;
  one.looked_up = true;
  one.translation = tracking_->find(one.now.local, one.now.remote, one.accepted);
  translations_[port] = one.translation;
}

std::string TargetTraffic::why_passed(const Known& one) const {
  if (spares_existing && one.existed) return "on connections that were there before";
  if (const auto& way = one.translation; way && way->asked != way->reached) {
    if (way->asked.port != way->reached.port)
      return fmt::format("by a redirect of port {} to {} (NAT)", way->asked.port, way->reached.port);
    return "by a translated address (NAT)";
  }
  if (needs_tracking && one.looked_up && !one.translation)
    return "on connections that the kernel does not track (a notrack rule)";
  if (!what_.cgroups.empty() &&
      !std::any_of(what_.cgroups.begin(), what_.cgroups.end(),
                   [&](auto& cgroup) {
                     return cgroup.class_id ? cgroup.class_id == one.now.cgroup.class_id
                                            : cgroup.id == one.now.cgroup.id;
                   }) &&
      one.now.cgroup.id != 0)
    return "on sockets that were made in another cgroup (socket activation, or a listener that was "
           "inherited)";
  return why_else;
}

void TargetTraffic::add(const Known& one, Sum& met_sum, Sum& passed_sum,
                        std::map<std::string, std::uint64_t>& why) const {
  if (!one.meant.value_or(false)) return;
  const auto since = [&](std::uint32_t TcpSocket::* counter) {
    return static_cast<std::uint32_t>(one.now.*counter - one.then.*counter);
  };
  const auto in = since(&TcpSocket::segments_in), out = since(&TcpSocket::segments_out);
  if (in + out == 0) return;
  auto& sum = one.met ? met_sum : passed_sum;
  ++sum.connections;
  sum.segments_in += in;
  sum.segments_out += out;
  const auto exchanges =
      std::max<std::uint32_t>(std::min(since(&TcpSocket::data_in), since(&TcpSocket::data_out)), 1);
  sum.exchanges += exchanges;
  if (!one.met)
    why[why_passed(one)] += counted_by == CountedBy::connections    ? 1
                            : counted_by == CountedBy::exchanges    ? exchanges
                            : counted_by == CountedBy::segments_in  ? in
                            : counted_by == CountedBy::segments_out ? out
                                                                    : in + out;
}

void TargetTraffic::settle(const Known& one) {
  add(one, met_, passed_, why_);
}

void TargetTraffic::look_at_descriptors() {
  if (what_.pids.empty()) return;
  const auto begin = monotonic_ns();
  std::set<pid_t> pids(what_.pids.begin(), what_.pids.end());
  for (auto& folder : what_.cgroup_folders) {
    std::ifstream file{folder + "/cgroup.procs"};
    for (pid_t pid = 0; file >> pid;)
      pids.insert(pid);
  }
  for (auto& group : what_.groups)
    for (auto& member : group->members())
      pids.insert(member.pid);
  inodes_.clear();
  for (const auto pid : pids)
    if (const auto held = sockets_of(pid)) inodes_.insert(held->begin(), held->end());
  look_at_unix_sockets();
  next_descriptors_ =
      monotonic_ns() + std::max(between_descriptors_ns, (monotonic_ns() - begin) * part_of_time);
}

// Connections that came to the target by its own listening sockets of the kind (proc(5): /proc/PID/net/unix).
void TargetTraffic::look_at_unix_sockets() {
  constexpr unsigned long listening = 0x10000;  // __SO_ACCEPTCON
  constexpr int stream = 1, packets = 5, connected = 3;
  struct Line {
    std::uint64_t inode;
    std::string path;
  };
  std::vector<Line> accepted;
  std::set<std::string> ours;
  std::ifstream file{what_.namespace_pid ? fmt::format("/proc/{}/net/unix", what_.namespace_pid)
                                         : std::string("/proc/thread-self/net/unix")};
  std::string text;
  std::getline(file, text);
  while (std::getline(file, text)) {
    unsigned long flags = 0;
    unsigned type = 0, state = 0;
    unsigned long long inode = 0;
    int path = 0;
    if (std::sscanf(text.c_str(), "%*s %*x %*x %lx %x %x %llu %n", &flags, &type, &state, &inode, &path) !=
            4 ||
        path == 0 || static_cast<std::size_t>(path) >= text.size())
      continue;
    if (type != stream && type != packets) continue;
    const auto name = text.substr(static_cast<std::size_t>(path));
    // Whoever of its children serves one that was accepted.
    if (!(flags & listening) && state == connected) accepted.push_back({inode, name});
    if (flags & listening && inodes_.contains(inode)) ours.insert(name);
  }
  for (auto& one : accepted)
    if (ours.contains(one.path)) unix_.inodes.insert(one.inode), unix_.paths.insert(one.path);
}

void TargetTraffic::note_probes(const std::string& service, const std::vector<Endpoint>& ends) {
  if (ends.empty()) return;
  constexpr std::size_t most = 100'000;  // where looks are few since there are so many sockets
  if (!witness_ || witness_->service != service) witness_ = Witness{.service = service};
  if (probes_.size() < most) probes_.insert(probes_.end(), ends.begin(), ends.end());
  sockets_ ? look() : judge_probes();
}

void TargetTraffic::judge_probes() {
  const auto before = std::exchange(probes_again_, {});
  auto judge = [&](const Endpoint& end, bool again) {
    if (met->has(end))
      ++witness_->met;
    else if (seen_.has(end))
      ++witness_->passed;
    else if (again || !sockets_)
      ++witness_->unseen;
    else
      probes_again_.push_back(end);
  };
  for (auto& end : before)
    judge(end, true);
  for (auto& end : std::exchange(probes_, {}))
    judge(end, false);
}

Dose TargetTraffic::in_view(Dose dose, std::uint64_t met_at_least) {
  look();
  auto met_sum = met_, passed_sum = passed_;
  auto why = why_;
  for (auto& [cookie, one] : known_)
    add(one, met_sum, passed_sum, why);
  Share share;
  share.of = unit.empty() ? unit_of(counted_by) : unit;
  share.met = std::max(met_sum.of(counted_by), met_at_least);
  share.passed = passed_sum.of(counted_by);
  for (auto& [reason, count] : why)
    if (!reason.empty()) share.by.push_back(fmt::format("{} {}", count, reason));
  if (refused_)
    share.unknown = "the kernel does not tell what the target's sockets did";
  else if (!sockets_ && share.met + share.passed == 0 && what_.match.protocol != Protocol::any &&
           what_.match.protocol != Protocol::tcp)
    share.unknown = "the kernel counts what single sockets did for TCP alone";
  else if (share.met + share.passed == 0)
    share.unknown = "the target's TCP connections carried nothing; of UDP the kernel keeps no count";
  if (missed_ && share.unknown.empty())
    share.by.emplace_back("so many connections ended that some were not counted");
  const bool known = share.unknown.empty();
  const bool by_segments = counted_by != CountedBy::connections && counted_by != CountedBy::exchanges;
  std::string doubt;
  if (known && share.passed > share.met && (!by_segments || share.passed >= few_segments))
    doubt = fmt::format("{} of {} {} of the target went by this fault{}{}", share.passed,
                        share.met + share.passed, share.of, share.by.empty() ? "" : ": ",
                        fmt::join(share.by, ", "));
  if (doubt.empty() && datagrams > share.met)
    doubt =
        fmt::format("{} datagrams came to the same port by UDP, which this fault does not reach", datagrams);
  dose.shares.push_back(std::move(share));
  if (datagrams > 0)
    dose.shares.push_back({.of = "datagrams by UDP", .met = 0, .passed = datagrams, .by = {}, .unknown = ""});
  if (const auto by_unix = unix_.inodes.size(); by_unix > 0) {
    dose.shares.push_back({.of = "connections by unix sockets",
                           .met = 0,
                           .passed = by_unix,
                           .by = {unix_.paths.begin(), unix_.paths.end()},
                           .unknown = ""});
    if (doubt.empty() && by_unix > met_sum.connections)
      doubt = fmt::format("{} connection{} came by unix sockets ({}), which this fault does not reach",
                          by_unix, by_unix == 1 ? "" : "s", fmt::join(unix_.paths, ", "));
  }
  dose.witness = witness_;
  if (witness_ && most(witness_->met, witness_->passed)) doubt.clear();
  if (witness_ && doubt.empty() && dose.verified && !known && witness_->passed > witness_->met)
    doubt = fmt::format("{} of {} probes of {} went by this fault", witness_->passed,
                        witness_->passed + witness_->met, witness_->service);
  if (!doubt.empty()) {
    dose.reason = dose.reason.empty() ? doubt : doubt + "; " + dose.reason;
    dose.verified = false;
  }
  return dose;
}

}  // namespace squall::faults
