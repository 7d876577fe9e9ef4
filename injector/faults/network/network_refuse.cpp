// network.refuse: new TCP connections fail, as before a server that is down, full, or behind a broken
// firewall. tcp.down: all of them, and those that exist end.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/tcp_place.hpp"
#include "injector/faults/dose/share_dose.hpp"
#include "injector/host/connections/tcp_connections.hpp"
#include "injector/host/rules/owned_table.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

namespace faults {

enum class RefusalMode { reject, drop };

struct NetworkRefuse {
  RefusalMode mode = RefusalMode::reject;
  Percent share{100};
  std::optional<std::uint32_t> limit;
  ConnectionPlace connections;
};

struct TcpDown {
  std::vector<std::string> to, except;
  std::vector<std::uint16_t> port;
  bool allow_isolation = false;
};

}  // namespace faults

template <>
struct EnumNames<faults::RefusalMode> {
  using M = faults::RefusalMode;
  static constexpr std::array<std::pair<std::string_view, M>, 2> names{
      {{"reject", M::reject}, {"drop", M::drop}}};
};

template <>
struct Describe<faults::NetworkRefuse> {
  static const Object<faults::NetworkRefuse>& object() {
    using faults::NetworkRefuse;
    static const auto schema =
        Object<NetworkRefuse>{"new TCP connections fail"}
            .optional("mode", &NetworkRefuse::mode,
                      "reject: with a reset at once, as where nobody listens; drop: the SYN is lost, as "
                      "before a full queue, and comes again",
                      "reject")
            .optional("share", &NetworkRefuse::share, "of the attempts, drawn for each by the kernel", "100%")
            .optional("limit", &NetworkRefuse::limit,
                      "only those beyond so many connections that are open: a server that takes no more",
                      "none")
            .between(&NetworkRefuse::limit, 1U, 1'000'000U)
            .including(&NetworkRefuse::connections);
    return schema;
  }
};

template <>
struct Describe<faults::TcpDown> {
  static const Object<faults::TcpDown>& object() {
    using faults::TcpDown;
    static const auto schema =
        Object<TcpDown>{"a service that is gone"}
            .optional("to", &TcpDown::to,
                      "only for these peers: addresses, networks (10.0.0.0/8) or host names, looked up once",
                      "every peer")
            .optional("except", &TcpDown::except,
                      "of those, leave these peers alone: addresses, networks or host names, looked up once",
                      "none")
            .optional("port", &TcpDown::port, "of what a process connects to: only these ports", "every port")
            .optional("allow_isolation", &TcpDown::allow_isolation,
                      "hit ssh and the metadata address of clouds too, which are spared else", "false")
            .rule([](const TcpDown& with, const Value& value, Diagnostics& diagnostics) {
              faults::no_port_of_zero(with.port, value, diagnostics);
            });
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::string_view mechanism_name = "an nftables table owned by the injector";

class Refuse : public Fault {
 public:
  Refuse(const NetworkRefuse& with, TcpAim aim) : with_(with), aim_(std::move(aim)) {
    aim_.rules.fate =
        with.mode == RefusalMode::reject ? ConnectionRules::Fate::reject : ConnectionRules::Fate::drop;
    aim_.rules.share = with.share.fraction();
    aim_.rules.beyond = with.limit;
    // What a proxy of ours brings comes from this host, in the stead of peers that are not these.
    if (aim_.rules.listener && !aim_.rules.peers.empty()) aim_.rules.mark = proxied_mark;
    auto& traffic = aim_.network.traffic;
    if (with.limit) traffic.reset();  // those below it pass by right
    if (!traffic) return;
    aim_.rules.remembers_ends = aim_.rules.counts_datagrams = true;
    traffic->counted_by = CountedBy::connections;
    traffic->spares_existing = true;
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.network.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims; }
  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    if (with_.share.value < 100)
      out.emplace_back("the seed does not repeat which attempts fail: the kernel draws them");
    if (with_.mode == RefusalMode::drop && with_.share.value < 100)
      out.emplace_back("a SYN that was dropped comes again, after a second, then two, and is drawn again");
    if (with_.limit) out.emplace_back("a connection that existed before counts from its next packet on");
    if (aim_.rules.listener)
      out.emplace_back("connections that other hosts make through this one (forwarding) are not meant");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_.network);
    Change table;
    table.what = fmt::format("add the nftables table {}, owned by this process, to {} {}", aim_.rules.table,
                             enum_text(with_.mode), fmt::join(aim_.targets, "; "));
    table.inverse =
        connection_rules_removal(aim_.rules, aim_.network.network_namespace, aim_.network.namespace_pid);
    table.act = [this] {
      in_place([&] {
        auto messages = add_connection_rules(aim_.rules);
        table_.add(messages);
      });
    };
    table.release = [this] {
      auto gone = delete_connection_rules(aim_.rules);
      return table_.remove(gone, aim_.rules.table);
    };
    transaction.add(std::move(table));
    if (!with_.connections.cut) return;
    Change cut;
    cut.what = "end the TCP connections that exist";
    cut.undo_note = "cannot be undone: their owners connect again";
    cut.act = [this] {
      in_place([&] {
        cut_ = cut_connections(aim_.network.matching(Direction::both, aim_.network.includes_loopback()),
                               aim_.network.cgroups)
                   .cut;
      });
    };
    transaction.add(std::move(cut));
  }

  void started() override {
    aim_.network.watch->stands_on([this] { return look_at_rules(); }, rules_every_ns);
    aim_.network.watch->begin();
    if (aim_.network.traffic) aim_.network.traffic->begin();
  }
  void stopping() override {
    read();
    aim_.network.watch->end();
    if (aim_.network.traffic) aim_.network.traffic->end();
  }
  void note_probes(const std::string& service, const std::vector<Endpoint>& ends) override {
    read();
    if (aim_.network.traffic) aim_.network.traffic->note_probes(service, ends);
  }

  Dose measure() override {
    read();
    Dose out;
    if (with_.limit) out.prescribed["connections"] = *with_.limit;
    if (with_.connections.cut) out.measured["connections_cut"] = cut_;
    if (!attempts_)
      out.reason = with_.limit ? "nobody tried to connect beyond the limit: nobody was refused"
                               : "nobody tried to connect: nobody was refused";
    judge_share(out, with_.share, {attempts_, refused_, refused_, 0}, "attempts", "refused");
    if (!attempts_ && cut_) {  // who was connected was hit, though nobody came again
      out.verified = true;
      out.samples = cut_;
      out.reason.clear();
    }
    return in_view_of(aim_.network, std::move(out), attempts_);
  }

  std::vector<FaultEvent> events() override { return aim_.network.watch->events(); }

 private:
  void in_place(const std::function<void()>& act) const {
    in_network_namespace(aim_.network.network_namespace, aim_.network.namespace_pid, act);
  }

  std::string look_at_rules() const {
    std::string gone;
    in_network_namespace_if_there(aim_.network.network_namespace, aim_.network.namespace_pid,
                                  [&] { gone = lost_rules(aim_.rules); });
    return gone_rules(gone);
  }

  void read() {
    if (!table_.there()) return;
    in_network_namespace_if_there(aim_.network.network_namespace, aim_.network.namespace_pid, [&] {
      refused_ = refused(aim_.rules);
      attempts_ = std::max(attempts(aim_.rules), refused_);
      if (!aim_.network.traffic) return;
      read_ends(aim_.rules, *aim_.network.traffic->met);
      if (aim_.rules.listener) aim_.network.traffic->datagrams = datagrams(aim_.rules);
    });
  }

  NetworkRefuse with_;
  TcpAim aim_;
  OwnedTable table_;
  std::uint64_t attempts_ = 0, refused_ = 0, cut_ = 0;
};

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  NetworkRefuse with;
  if (!Codec<NetworkRefuse>::decode(value, with, diagnostics)) return nullptr;
  auto aim = aim_at_connections(with.connections, on, setting, diagnostics, with.limit.has_value());
  if (!aim) return nullptr;
  return std::make_unique<Refuse>(with, std::move(*aim));
}

std::unique_ptr<Fault> prepare_down(const Value& value, const TargetSpec& on, const Setting& setting,
                                    Diagnostics& diagnostics) {
  TcpDown down;
  if (!Codec<TcpDown>::decode(value, down, diagnostics)) return nullptr;
  NetworkRefuse with;
  with.connections = {.to = down.to,
                      .except = down.except,
                      .port = down.port,
                      .cut = true,
                      .allow_isolation = down.allow_isolation};
  auto aim = aim_at_connections(with.connections, on, setting, diagnostics, false);
  if (!aim) return nullptr;
  return std::make_unique<Refuse>(with, std::move(*aim));
}

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace(
      "needs Linux 5.12 or later with nft_reject_inet, nft_numgen and nft_connlimit", [] {
        ConnectionRules rules;
        rules.table = "sqdoctor";
        rules.fate = ConnectionRules::Fate::reject;
        rules.share = 0.5;
        rules.beyond = 1;
        rules.listener = 2;
        netlink::Socket owner{NETLINK_NETFILTER};
        auto messages = add_connection_rules(rules);
        netlink::must(owner, messages);
      });
}

std::vector<Capability> doctor() {
  static const std::string missing = refusal();
  return {{.mechanism = std::string(mechanism_name),
           .possible = missing.empty(),
           .chosen = missing.empty(),
           .missing = missing,
           .note = how_processes_are_known(),
           .measures = "how many attempts were made and refused; not what those who made them did then"}};
}

}  // namespace

extern const FaultType network_refuse, tcp_down;
const FaultType network_refuse{
    .name = "network.refuse",
    .sentence = "refuses new TCP connections, as a server that is down or full would",
    .parameters = &Describe<NetworkRefuse>::object(),
    .aims = tcp_aims(),
    .lasting = true,
    .ramps = false,
    .undo = "the rules go, and new connections are made; those that were cut stay cut",
    .examples = {"cut=true --on listens_on=6379 --for 30s", "limit=20 --on listens_on=5432 --for 1m",
                 "mode=drop share=30% port=5432 --on unit=playlist.service --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

const FaultType tcp_down{
    .name = "tcp.down",
    .sentence = "takes a TCP service down: connections end, new ones are refused",
    .parameters = &Describe<TcpDown>::object(),
    .aims = tcp_aims(),
    .lasting = true,
    .ramps = false,
    .undo = "the rules go, and new connections are made; those that ended stay so",
    .examples = {"--on listens_on=6379 --for 30s", "port=5432 --on unit=playlist.service --for 1m"},
    .prepare = prepare_down,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
