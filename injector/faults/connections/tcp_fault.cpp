#include "injector/faults/connections/tcp_fault.hpp"

#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/asio/error.hpp>

#include "injector/faults/afterwards.hpp"
#include "injector/host/connections/client_addresses.hpp"
#include "injector/host/connections/connection_tracking.hpp"
#include "injector/host/connections/tcp_connections.hpp"
#include "injector/host/rules/owned_table.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall::faults {
namespace {

constexpr std::string_view mechanism_name = "own TCP proxy, in front of it by an nftables redirection";
// Connections that were made through a fault's proxy go on when it is undone, and so do the rules by which
// the kernel translates their packets.
class CarriedOn : public Afterwards {
 public:
  CarriedOn(std::unique_ptr<proxy::ProxyThread> proxy, std::shared_ptr<OwnedTable> table,
            const ConnectionRules& rules)
      : proxy_(std::move(proxy)), table_(std::move(table)), rules_(rules) {}
  ~CarriedOn() override {
    proxy_.reset();  // while its goodbyes are translated
    auto gone = delete_connection_rules(rules_);
    table_->remove(gone, rules_.table);
  }
  std::string used_for() override {
    const auto open = proxy_->statistics().open;
    return open ? fmt::format("{} connection{} that went through the proxy {}", open, open == 1 ? "" : "s",
                              rules_.table)
                : "";
  }

 private:
  std::unique_ptr<proxy::ProxyThread> proxy_;
  std::shared_ptr<OwnedTable> table_;
  ConnectionRules rules_;
};

class TcpFault : public Fault {
 public:
  TcpFault(TcpEffect effect, const ConnectionPlace& place, TcpAim aim, const Setting& setting)
      : effect_(std::move(effect)), place_(place), aim_(std::move(aim)), seed_(setting.seed) {
    aim_.rules.mark = proxied_mark;
    aim_.rules.keeps_clients = aim_.rules.listener.has_value();
    auto& traffic = aim_.network.traffic;
    if (!traffic) return;
    traffic->counted_by = CountedBy::exchanges;
    traffic->unit = effect_.http ? "requests" : "";
    traffic->spares_existing = !place_.cut;
    traffic->needs_tracking = true;
    aim_.rules.counts_datagrams = true;
  }

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.network.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims; }
  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.insert(out.end(), effect_.limits.begin(), effect_.limits.end());
    out.emplace_back("servers see each client's own address, but another port of it");
    out.emplace_back(
        "connections made meanwhile go on through Squall after the fault's end, untouched, until the session "
        "ends (of a drill: after its recovery window), which closes them");
    out.emplace_back(fmt::format("connections {} IPv6 link-local addresses (fe80::/10) are not meant",
                                 aim_.rules.listener ? "from and to" : "to"));
    if (aim_.rules.listener)
      out.emplace_back("connections that other hosts make through this one (forwarding) are not meant");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_.network);
    Change lead;
    lead.what =
        fmt::format("start a proxy and add the nftables table {}, owned by this process, that leads it {}",
                    aim_.rules.table, fmt::join(aim_.targets, "; "));
    lead.inverse =
        connection_rules_removal(aim_.rules, aim_.network.network_namespace, aim_.network.namespace_pid);
    lead.act = [this] { start(); };
    lead.release = [this] { return stop(); };
    transaction.add(std::move(lead));
    if (!place_.cut) return;
    Change cut;
    cut.what = "end the TCP connections that exist, so that they come back through the proxy";
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

  void set_level(double level) override {
    level_ = level;
    if (proxy_) effect_.put(*proxy_, level_);
    if (level < 1) return;
    // The dose is that of the full level.
    if (proxy_) before_ = proxy_->statistics();
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
    if (aim_.network.traffic) aim_.network.traffic->note_probes(service, ends);
  }

  Dose measure() override {
    read();
    if (level_ < 1) {
      Dose out;
      out.prescribed = effect_.dose({}).prescribed;
      out.reason = "still being ramped up";
      return out;
    }
    auto out = effect_.dose(last_);
    out.measured["connections"] = last_.connections;
    if (last_.unreachable) out.measured["connections_without_a_server"] = last_.unreachable;
    if (place_.cut) out.measured["connections_cut"] = cut_;
    if (!out.verified && !last_.connections) out.reason = "no connection was made: nobody was hit";
    if (dropped_) {
      out.measured["packets_dropped_untracked"] = dropped_;
      out = doubted(std::move(out), fmt::format("the table of tracked connections ran full, and the kernel "
                                                "dropped {} packets of new connections",
                                                dropped_));
    }
    return in_view_of(aim_.network, std::move(out), effect_.http ? last_.http.requests : last_.connections);
  }

  std::vector<FaultEvent> events() override { return aim_.network.watch->events(); }

 private:
  void in_place(const std::function<void()>& act) const {
    in_network_namespace(aim_.network.network_namespace, aim_.network.namespace_pid, act);
  }

  void start() {
    proxy::ProxyPlan plan;
    plan.name = aim_.rules.table;
    plan.listen = ":0";
    plan.seed = seed_;
    plan.mark = proxied_mark;
    plan.http = effect_.http;
    plan.client_as = [addresses = std::make_shared<ClientAddresses>(aim_.rules, table_)](const auto& client) {
      return addresses->seen_as(client);
    };
    if (aim_.network.traffic) {
      plan.clients = aim_.network.traffic->met;
      plan.ends = aim_.network.traffic->own;
    }
    auto proxy = listening(plan);
    effect_.put(*proxy, level_);
    aim_.rules.port = proxy->port();
    in_place([&] {
      dropped_before_ = dropped_by_full_table();
      auto messages = add_connection_rules(aim_.rules);
      table_->add(messages);
    });
    proxy_ = std::move(proxy);
  }

  // On a port of the kernel's choice, or, where those have run out, on one of ours.
  std::unique_ptr<proxy::ProxyThread> listening(proxy::ProxyPlan plan) const {
    constexpr unsigned lowest = 10'000, ports = 20'000, most_tries = 50;
    for (unsigned tries = 0;; ++tries)
      try {
        return std::make_unique<proxy::ProxyThread>(plan, aim_.network.network_namespace,
                                                    aim_.network.namespace_pid);
      } catch (const boost::system::system_error& error) {
        if (error.code() != boost::asio::error::address_in_use || tries == most_tries) throw;
        plan.listen = fmt::format(
            ":{}", lowest + (seed_ + std::hash<std::string>{}(aim_.rules.table) + tries * 7919U) % ports);
      }
  }

  Undone stop() {
    if (!table_) return {UndoOutcome::already, "", ""};
    if (table_->there() && proxy_) {
      auto nobody = lead_nobody(aim_.rules);
      table_->change(nobody);
      if (proxy_->only_carry()) {
        go_on(std::make_unique<CarriedOn>(std::move(proxy_), std::move(table_), aim_.rules));
        return {};
      }
    }
    proxy_.reset();
    auto gone = delete_connection_rules(aim_.rules);
    return table_->remove(gone, aim_.rules.table);
  }

  std::string look_at_rules() const {
    std::string gone;
    in_network_namespace_if_there(aim_.network.network_namespace, aim_.network.namespace_pid,
                                  [&] { gone = lost_rules(aim_.rules); });
    return gone_rules(gone);
  }

  void read() {
    if (!proxy_) return;
    in_network_namespace_if_there(aim_.network.network_namespace, aim_.network.namespace_pid,
                                  [this] { dropped_ = dropped_by_full_table() - dropped_before_; });
    if (aim_.network.traffic && aim_.rules.listener)
      in_network_namespace_if_there(aim_.network.network_namespace, aim_.network.namespace_pid,
                                    [&] { aim_.network.traffic->datagrams = datagrams(aim_.rules); });
    last_ = proxy_->statistics();
    for (auto [now, then] : {std::pair{&last_.up, &before_.up}, std::pair{&last_.down, &before_.down}}) {
      now->received_bytes -= then->received_bytes;
      now->sent_bytes -= then->sent_bytes;
      now->waiting_s -= then->waiting_s;
      now->waiting_bytes -= then->waiting_bytes;
      now->any_waiting_s -= then->any_waiting_s;
      now->discarded_bytes -= then->discarded_bytes;
      now->cuts -= then->cuts;
      // Of a ramp's pieces the latest ones tell: the ring keeps no order of time, the number does.
      now->piece_bytes -= then->piece_bytes;
      now->ends -= then->ends;
      now->end_held_sum_ms -= then->end_held_sum_ms;
      const auto pieces = now->pieces - then->pieces;
      if (then->pieces && pieces < now->held_ms.size()) keep_latest(*now, pieces);
      now->pieces = pieces;
    }
    for (auto field : {&proxy::ProxyStatistics::closed, &proxy::ProxyStatistics::reset,
                       &proxy::ProxyStatistics::unnoticed})
      last_.*field -= before_.*field;
    for (auto field :
         {&proxy::HttpCounters::requests, &proxy::HttpCounters::matched, &proxy::HttpCounters::rolled,
          &proxy::HttpCounters::done, &proxy::HttpCounters::unchanged, &proxy::HttpCounters::unanswered})
      last_.http.*field -= before_.http.*field;
  }

  static void keep_latest(proxy::LinkCounters& counters, std::uint64_t count) {
    for (auto* ring : {&counters.held_ms, &counters.rolled_ms, &counters.late_ms}) {
      std::vector<float> latest;
      for (std::uint64_t i = counters.pieces - count; i < counters.pieces; ++i)
        latest.push_back((*ring)[i % ring->size()]);
      *ring = std::move(latest);
    }
  }

  std::uint64_t dropped_before_ = 0, dropped_ = 0;  // by a full table of tracked connections
  TcpEffect effect_;
  ConnectionPlace place_;
  TcpAim aim_;
  std::uint64_t seed_, cut_ = 0;
  double level_ = 1;
  std::unique_ptr<proxy::ProxyThread> proxy_;
  // New connections must not be led to a port that is gone; the proxy's own ends must be translated.
  std::shared_ptr<OwnedTable> table_ = std::make_shared<OwnedTable>(OwnedTable::Dies::last);
  proxy::ProxyStatistics before_, last_;
};

// What the kernel would refuse, found out in a network namespace that nobody else is in.
std::string refusal() {
  return refusal_in_fresh_namespace("needs Linux 5.12 or later with nft_redir, nft_fib_inet and nft_nat", [] {
    ConnectionRules rules;
    rules.table = "sqdoctor";
    rules.port = 1;
    rules.listener = 2;
    rules.mark = proxied_mark;
    rules.keeps_clients = true;
    netlink::Socket owner{NETLINK_NETFILTER};
    auto messages = add_connection_rules(rules);
    netlink::must(owner, messages);
  });
}

}  // namespace

std::unique_ptr<Fault> tcp_fault(TcpEffect effect, const ConnectionPlace& place, const TargetSpec& on,
                                 const Setting& setting, Diagnostics& diagnostics) {
  auto aim = aim_at_connections(place, on, setting, diagnostics);
  if (!aim) return nullptr;
  return std::make_unique<TcpFault>(std::move(effect), place, std::move(*aim), setting);
}

std::vector<Capability> tcp_fault_doctor() {
  static const std::string missing = refusal();
  return {{.mechanism = std::string(mechanism_name),
           .possible = missing.empty(),
           .chosen = missing.empty(),
           .missing = missing,
           .note = how_processes_are_known(),
           .measures = "what passes the proxy, connection by connection; not what those around it saw"}};
}

}  // namespace squall::faults
