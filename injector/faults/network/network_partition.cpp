// network.partition: cuts peers off, by rules of the kernel's own that go with our process.
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/faults/packets/packet_fault.hpp"
#include "injector/host/connections/tcp_connections.hpp"
#include "injector/host/match/name_watch.hpp"
#include "injector/host/packets/packet_detour.hpp"
#include "injector/host/rules/netfilter_hooks.hpp"
#include "injector/host/rules/owned_table.hpp"
#include "injector/system/network_namespace.hpp"
#include "scenarios/model/topology.hpp"

namespace squall {

namespace faults {

enum class PartitionMode { drop, reject };
using RejectWith = DetourRules::Answer;

struct NetworkPartition {
  PartitionMode mode = PartitionMode::drop;
  RejectWith reject_with = RejectWith::automatic;
  bool cut = false;
  std::optional<Topology>
      topology;  // the planner has made `to` and `direction` of it before it comes to a host
  Direction direction = Direction::both;
  std::vector<std::string> to, except;
  std::vector<std::uint16_t> port;
  PacketProtocol protocol = PacketProtocol::any;
  bool allow_isolation = false;
};

}  // namespace faults

template <>
struct EnumNames<faults::PartitionMode> {
  using M = faults::PartitionMode;
  static constexpr std::array<std::pair<std::string_view, M>, 2> names{
      {{"drop", M::drop}, {"reject", M::reject}}};
};

template <>
struct EnumNames<faults::RejectWith> {
  using W = faults::RejectWith;
  static constexpr std::array<std::pair<std::string_view, W>, 3> names{
      {{"automatic", W::automatic}, {"icmp", W::icmp}, {"rst", W::rst}}};
};

template <>
struct Describe<faults::NetworkPartition> {
  static const Object<faults::NetworkPartition>& object() {
    using faults::NetworkPartition;
    static const auto schema =
        Object<NetworkPartition>{"cuts peers off"}
            .optional("mode", &NetworkPartition::mode,
                      "drop: silently, as a dead line; reject: the sender is told at once, by a TCP reset or "
                      "by ICMP, as a firewall would",
                      "drop")
            .optional("reject_with", &NetworkPartition::reject_with,
                      "automatic: a TCP reset where it can be, else ICMP (administratively prohibited); "
                      "icmp: for TCP too; rst: TCP alone is told, the rest is dropped",
                      "automatic")
            .optional("cut", &NetworkPartition::cut,
                      "end TCP connections that exist already, with a reset to either side", "false")
            .optional("topology", &NetworkPartition::topology,
                      "over the hosts of the step, in place of to and direction: isolate_one and all others "
                      "cannot hear each other; halves cannot hear each other; in a majority_ring "
                      "(of 4 or more) every host hears a majority and no two the same; one_way: one host is "
                      "heard by nobody, and hears everybody; the seed chooses who")
            .optional("direction", &NetworkPartition::direction,
                      "seen from the target: what it sends, what it receives, or both", "both")
            .optional("to", &NetworkPartition::to,
                      "only packets exchanged with these peers: addresses, networks (10.0.0.0/8) or host "
                      "names, looked up again every 5 s",
                      "every peer")
            .optional("except", &NetworkPartition::except,
                      "of those, leave these peers alone: addresses, networks or host names, looked up once",
                      "none")
            .optional("port", &NetworkPartition::port,
                      "only TCP, UDP and SCTP packets with one of these ports, the peer's or its own; on lo, "
                      "out is towards the port, in is from it",
                      "every port")
            .optional("protocol", &NetworkPartition::protocol,
                      "only these packets: by name, or by the number that IP headers carry; ah in IPv4 alone",
                      "any")
            .optional("allow_isolation", &NetworkPartition::allow_isolation,
                      "cut off the control channel too (ssh, and the metadata address of clouds), which is "
                      "spared else; a host that cannot be reached undoes by itself when its lease runs out",
                      "false")
            .rule([](const NetworkPartition& with, const Value& value, Diagnostics& diagnostics) {
              faults::check_ports(with.port, with.protocol, value, diagnostics);
              if (with.mode != faults::PartitionMode::reject && value.find("reject_with"))
                diagnostics.error(faults::place_of(value, "reject_with"),
                                  "expected no reject_with but with mode: reject");
              for (auto* key : {"to", "direction"})
                if (with.topology && value.find(key))
                  diagnostics.error(
                      faults::place_of(value, key),
                      fmt::format("expected no {} beside topology: it follows from who cannot hear whom",
                                  key));
            });
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::string_view mechanism_name = "nftables tables owned by the injector";

class PartitionFault : public Fault {
 public:
  PartitionFault(const NetworkPartition& with, NetworkAim aim, const Setting& setting)
      : with_(with), aim_(std::move(aim)) {
    rules_->table = own_name(setting);
    const bool told = with.mode == PartitionMode::reject;
    rules_->fate = told ? DetourRules::Fate::reject : DetourRules::Fate::drop;
    rules_->answer = with.reject_with;
    rules_->points = drop_points(aim_, told);
    rules_->remembers_ends = aim_.traffic != nullptr;
    if (aim_.traffic) aim_.traffic->counted_by = CountedBy::connections;
    if (!told && marks_senders(aim_)) {
      rules_->senders = aim_.cgroups;
      if (!aim_.every_device) rules_->sender_interface = aim_.devices.front().index;
    }
    if (uses_devices(*rules_)) aim_.watch->expect_its_name();
    if (setting.io) keep_hooks_switched_on();
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims(); }

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    if (with_.mode == PartitionMode::reject)
      out.emplace_back("a local sender of UDP sees its call refused (EPERM) besides");
    if (const auto names = names_of_peers(); !names.empty())
      out.push_back(fmt::format(
          "{} looked up again every {} s: addresses that appear are cut off too, those that disappear stay "
          "cut off",
          names.size() == 1 ? "\"" + names.front() + "\" is" : "host names are", NameWatch::every.count()));
    if (aim_.every_device && aim_.direction != Direction::in)
      out.emplace_back("what leaves by an interface that comes up later is not cut off");
    if (leads_pieces(*rules_) || !aim_.cgroups.empty())
      out.emplace_back(
          "a ruleset that is saved meanwhile (nft list ruleset) has sets whose type nft cannot read back: "
          "leave the tables sq… out, or it cannot be loaded");
    if (with_.cut)
      out.emplace_back(
          "connections that this host only forwards are not its own: they are not ended, only stopped");
    if (aim_.direction == Direction::both)
      out.emplace_back(
          "whom nobody answers sends nothing, and its silence proves nothing: of a direction in which no "
          "packet was stopped it is not seen whether it is cut off");
    out.emplace_back(
        watches_arrivals()
            ? "measured by the packets that were stopped, and by those of the peers that arrived all the "
              "same; what left by another way is not seen"
            : "measured by the packets that were stopped; those that found another way are not seen");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_);
    if (with_.cut) {
      Change cut;
      cut.what = fmt::format("end the TCP connections that exist{}", which_connections());
      cut.undo_note = "cannot be undone: their owners connect again";
      cut.act = [this] { cut_ = cut_existing(aim_); };
      transaction.add(std::move(cut));
    }
    Change tables;
    tables.what =
        fmt::format("add the nftables table {}, owned by this process, to {} {}", rules_->table,
                    with_.mode == PartitionMode::drop ? "drop" : "reject", fmt::join(aim_.targets, "; "));
    tables.inverse = detour::owned_tables(*rules_, aim_.network_namespace, aim_.namespace_pid);
    tables.act = [this] { add(); };
    tables.release = [this] { return remove(); };
    transaction.add(std::move(tables));
  }

  void started() override {
    names_ = std::make_unique<NameWatch>(names_of_peers());
    // Packets that were on their way while the rules came.
    in_place_if_there([&] { before_ = matched(*rules_).watched; });
    aim_.watch->stands_on([this] { return look_at_rules(); }, rules_every_ns);
    expect_no_newcomers(aim_, false,
                        [rules = rules_](const std::string& name) { return take_what_leaves(*rules, name); });
    aim_.watch->begin();
    if (aim_.traffic) aim_.traffic->begin();
  }
  void stopping() override {
    read();
    aim_.watch->end();
    if (aim_.traffic) aim_.traffic->end();
  }
  void note_probes(const std::string& service, const std::vector<Endpoint>& ends) override {
    read();
    if (aim_.traffic) aim_.traffic->note_probes(service, ends);
  }

  std::vector<FaultEvent> events() override {
    auto out = events_of(aim_);
    if (!names_ || !table_.there() || withdrawn_) return out;
    for (auto& found : names_->look()) {
      if (!found.error.empty()) {
        if (unknown_.insert(found.name).second)
          out.push_back(
              {"partition.lookup_failed", wall_ns(), {{"name", found.name}, {"error", found.error}}});
        continue;
      }
      unknown_.erase(found.name);
      try {
        boost::json::array added;
        for (auto& address : cut_off_too(found.addresses))
          added.emplace_back(to_string(address));
        if (!added.empty())
          out.push_back(
              {"partition.addresses", wall_ns(), {{"name", found.name}, {"added", std::move(added)}}});
      } catch (const std::exception& e) {
        out.push_back(
            {"fault.error",
             wall_ns(),
             {{"text", fmt::format("cut off the new addresses of \"{}\": {}", found.name, e.what())}}});
      }
    }
    return out;
  }

  Dose measure() override {
    read();
    Dose out;
    out.prescribed = {{"stopped_percent", 100}};
    const auto stopped = seen_.taken();
    out.measured = {{"stopped_packets", stopped}};
    if (aim_.direction == Direction::both)
      out.measured["stopped_leaving"] = seen_.leaving, out.measured["stopped_arriving"] = seen_.arriving;
    if (with_.cut) out.measured["connections_cut"] = cut_;
    out.samples = stopped;
    const auto arrived = seen_.watched - std::min(seen_.watched, before_);
    out.verified = stopped > 0 && arrived == 0;
    if (arrived)
      out.reason = fmt::format("{} packets of these peers arrived all the same, by a way that is not cut off",
                               arrived);
    else if (!stopped && cut_)
      out.reason = fmt::format(
          "{} connections were cut, and no packet came since: that nobody gets through was not seen", cut_);
    else if (!stopped)
      out.reason = "no packet matched: nobody was cut off";
    if (!aim_.watch->device_gone().empty()) withdraw();
    // Of those who were stopped, each at another end, one is the target's own.
    const auto ends = aim_.traffic ? aim_.traffic->met->added() : 0;
    return in_view_of(aim_, std::move(out), ends - std::min<std::uint64_t>(ends, 1));
  }

 private:
  std::vector<std::string> names_of_peers() const {
    auto out = with_.to;
    std::erase_if(out, [](auto& text) { return parse_prefix(text).has_value(); });
    return out;
  }

  // Of these addresses those that were not cut off before.
  std::vector<Prefix> cut_off_too(const std::vector<Prefix>& addresses) {
    const auto& known = aim_.match.peers;
    std::vector<Prefix> fresh;
    std::copy_if(addresses.begin(), addresses.end(), std::back_inserter(fresh),
                 [&](auto& one) { return std::find(known.begin(), known.end(), one) == known.end(); });
    if (fresh.empty()) return fresh;
    if (with_.cut) {
      auto only = aim_;
      only.match.peers = fresh;
      cut_ += cut_existing(only);
    }
    auto messages = add_peers(*rules_, fresh);
    table_.change(messages);
    const auto add = [&](PacketMatch& match) {
      match.peers.insert(match.peers.end(), fresh.begin(), fresh.end());
    };
    add(aim_.match);
    for (auto& point : rules_->points)
      add(point.match);
    return fresh;
  }

  bool watches_arrivals() const {
    return std::any_of(rules_->points.begin(), rules_->points.end(),
                       [](auto& point) { return point.watched; });
  }

  // Of which hosts, ports and devices.
  std::string which_connections() const {
    const auto match = to_string(aim_.matching(Direction::both, false));
    std::vector<std::string> devices;
    for (auto& device : aim_.devices)
      devices.push_back(device.name);
    return fmt::format(
        "{}{}", match.empty() ? "" : ": " + match,
        aim_.every_device ? "" : fmt::format(", where they leave by {}", fmt::join(devices, " or ")));
  }

  std::size_t cut_existing(const NetworkAim& aim) const {
    const auto match = aim.matching(Direction::both, aim.includes_loopback());
    std::vector<std::uint32_t> devices;
    for (auto& device : aim.devices)
      devices.push_back(device.index);
    CutConnections done;
    in_place([&] {
      done = aim.every_device ? cut_connections(match, aim.cgroups)
                              : cut_connections_by(devices, match, aim.cgroups);
    });
    return done.cut;
  }

  void in_place(const std::function<void()>& act) const {
    in_network_namespace(aim_.network_namespace, aim_.namespace_pid, act);
  }

  void in_place_if_there(const std::function<void()>& act) const {
    in_network_namespace_if_there(aim_.network_namespace, aim_.namespace_pid, act);
  }

  void add() {
    in_place([&] {
      auto messages = add_detour_rules(*rules_);
      table_.add(messages);
    });
  }

  Undone remove() {
    auto gone = delete_detour_tables(*rules_);
    return table_.remove(gone, rules_->table);
  }

  // Rules on a device are put on another one of its name too, by Linux 6.16 and later: that one would be cut
  // off in one direction.
  void withdraw() {
    if (!table_.there() || std::exchange(withdrawn_, true)) return;
    auto pass = delete_detour_rules(*rules_);
    table_.change(pass);
  }

  std::string look_at_rules() const {
    std::string gone;
    if (table_.there() && !withdrawn_) in_place_if_there([&] { gone = lost_rules(*rules_); });
    return gone_rules(gone);
  }

  void read() {
    if (!table_.there()) return;
    in_place_if_there([&] {
      const auto now = matched(*rules_);
      if (now.taken() >= seen_.taken()) seen_ = now;
      if (aim_.traffic) read_ends(*rules_, *aim_.traffic->met);
    });
  }

  NetworkPartition with_;
  NetworkAim aim_;
  std::shared_ptr<DetourRules> rules_ = std::make_shared<DetourRules>();
  OwnedTable table_;
  std::unique_ptr<NameWatch> names_;
  std::set<std::string> unknown_;  // names whose look-up failed last, and was told
  MatchedPackets seen_;
  std::uint64_t before_ = 0;  // watched when it came into force
  std::uint64_t cut_ = 0;
  bool withdrawn_ = false;
};

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  NetworkPartition with;
  if (!Codec<NetworkPartition>::decode(value, with, diagnostics)) return nullptr;
  if (with.topology) {
    diagnostics.error(place_of(value, "topology"),
                      "a topology is of several hosts: run a scenario that names them; for one host, name "
                      "its peers with to");
    return nullptr;
  }
  const NetworkPackets packets{.direction = with.direction,
                               .to = with.to,
                               .except = with.except,
                               .port = with.port,
                               .protocol = with.protocol,
                               .mechanism = {},
                               .allow_isolation = with.allow_isolation};
  auto aim = aim_at_network(packets, on, setting, diagnostics);
  if (!aim) return nullptr;
  if ((with.mode == PartitionMode::reject || !aim->cgroups.empty()) && !sees_what_arrives(*aim, diagnostics))
    return nullptr;
  return std::make_unique<PartitionFault>(with, std::move(*aim), setting);
}

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace("needs Linux 5.16 or later with nf_tables and nft_reject", [] {
    for (auto fate : {DetourRules::Fate::drop, DetourRules::Fate::reject}) {
      DetourRules rules;
      rules.table = "sqdoctor";
      rules.fate = fate;
      HoldPoint arriving, leaving;
      arriving.interface = 1;
      leaving.at = fate == DetourRules::Fate::drop ? HoldPoint::At::leaving : HoldPoint::At::sent;
      leaving.device = "lo";
      rules.points = {arriving, leaving};
      netlink::Socket owner{NETLINK_NETFILTER};
      auto messages = add_detour_rules(rules);
      netlink::must(owner, messages);
      auto gone = delete_detour_tables(rules);
      netlink::must(owner, gone);
    }
  });
}

std::vector<Capability> doctor() {
  static const std::string missing = refusal();
  return {{.mechanism = std::string(mechanism_name),
           .possible = missing.empty(),
           .chosen = missing.empty(),
           .missing = missing,
           .note = how_processes_are_known(),
           .measures = "how many packets were stopped; not those that found another way"}};
}

}  // namespace

extern const FaultType network_partition;
const FaultType network_partition{
    .name = "network.partition",
    .sentence = "cuts peers off, as a broken line or a wrong firewall rule would",
    .parameters = &Describe<NetworkPartition>::object(),
    .aims = packet_aims(),
    .lasting = true,
    .ramps = false,
    .undo = "the rules go, and with them the partition; connections that were cut stay cut",
    .examples = {"to=10.0.0.0/8 --on interface=eth0 --for 30s",
                 "mode=reject cut=true port=6379 --on interface=lo --for 30s",
                 "to=203.0.113.7 direction=out --on interface=eth0 --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
