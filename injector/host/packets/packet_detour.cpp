#include "injector/host/packets/packet_detour.hpp"

#include <net/if.h>
#include <unistd.h>

#include <fmt/format.h>

#include "injector/change/records.hpp"
#include "injector/host/netlink/links.hpp"
#include "injector/host/netlink/netfilter_sockets.hpp"
#include "injector/host/packets/held_count.hpp"
#include "injector/host/packets/tap.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

namespace {

// The kernel takes 15 characters: 12 at most of the prefix, one, and two digits.
std::string tap_name(const PacketDetourPlan& plan, std::size_t point) {
  constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyz";
  if (point >= most_hold_points)
    throw std::runtime_error(fmt::format("more than {} places to hold packets at", most_hold_points));
  return fmt::format("{}t{}{}", plan.prefix, digits[point / digits.size()], digits[point % digits.size()]);
}
std::string alias_of(const PacketDetourPlan& plan) {
  return "squall " + plan.rules.table;
}

// Whether the kernel has the queue expression, once known; without it the target of xtables does the same.
std::atomic<bool> lacks_queue_expression = false;

}  // namespace

std::uint32_t longest_queue(const Impairment& what) {
  double seconds = static_cast<double>(what.delay.delay_ns + 4 * what.delay.jitter_ns) / 1e9;
  if (what.rate) seconds += static_cast<double>(what.rate->queue_bytes) / what.rate->bytes_per_second;
  return static_cast<std::uint32_t>(std::clamp(200'000 * seconds, 16'384.0, 400'000.0));
}

PacketDetour::PacketDetour(PacketDetourPlan plan) : plan_(std::move(plan)) {
  if (!plan_.network_namespace) plan_.network_namespace = current_network_namespace();
}
PacketDetour::~PacketDetour() = default;

void PacketDetour::set_level(double level) {
  level_ = level;
  if (engine_) engine_->set_level(level);
}

void PacketDetour::make_way(bool on) {
  if (!engine_) return;
  engine_->make_way(on);
  if (!owner_ || !uses_queue(plan_.rules)) return;
  auto batch = pass_queue_by(plan_.rules, on);
  owner_->exchange(batch);
  // While more came, some were always on their way to us.
  if (on) engine_->wait_until_empty();
}

void PacketDetour::begin_letting_go() {
  flow();
  if (engine_) engine_->begin_release();
}

void PacketDetour::finish_letting_go() {
  if (engine_) engine_->release();
}

EngineMeasure PacketDetour::measure() {
  if (engine_ && owner_) {
    in_network_namespace_if_there(plan_.network_namespace, plan_.namespace_pid, [&] {
      if (queue_) passed_ = queue_->passed(matched_by_queue(plan_.rules));
      dropped_ = 0;
      for (auto* tap : taps_)
        dropped_ += tap->dropped();
    });
  }
  auto out = engine_ && started_ ? engine_->measure() : last_;
  out.overflowed += passed_;
  out.lost += dropped_;
  return out;
}

std::string PacketDetour::flow_where_a_tap_is_gone() {
  if (!owner_ || flows_ || taps_.empty()) return "";
  std::string wrong;
  in_network_namespace_if_there(plan_.network_namespace, plan_.namespace_pid, [&] {
    for (auto* tap : taps_)
      if (const auto harm = tap->harm(); wrong.empty() && !harm.empty()) wrong = "somebody " + harm;
    const auto led = led_to_taps(plan_.rules);
    if (!wrong.empty()) outage_lost_ = led - led_;
    led_ = led;
  });
  if (wrong.empty()) return "";
  flow();
  return fmt::format(
      "{}, which was an outage of less than a second: what was led to it is lost, {} packets at most; "
      "packets pass as they are since",
      wrong, outage_lost_);
}

std::string PacketDetour::lost_rules() const {
  std::string out;
  if (owner_ && !flows_)
    in_network_namespace_if_there(plan_.network_namespace, plan_.namespace_pid,
                                  [&] { out = squall::lost_rules(plan_.rules); });
  return out;
}

void PacketDetour::flow() {
  if (!owner_ || std::exchange(flows_, true)) return;
  auto pass = delete_detour_rules(plan_.rules);
  owner_->exchange(pass);
}

void PacketDetour::get_ready() {
  queue_ = nullptr;
  taps_.clear();
  started_ = false;
  in_network_namespace(plan_.network_namespace, plan_.namespace_pid, [&] {
    // Closed first when the process dies: the tables, which this one owns, must be gone before the taps that
    // their rules lead to, and traffic flows again once they are.
    owner_ = std::make_unique<FirstClosed>(take_netfilter_socket());
    auto engine = std::make_unique<PacketEngine>(plan_.what, plan_.seed);
    // By their ports later pieces are not known: they follow the first.
    const bool pieces = leads_pieces(plan_.rules) && !plan_.what.editor;
    if (pieces) engine->let_pieces_follow();
    if (uses_queue(plan_.rules)) {
      auto queue = std::make_unique<PacketQueue>(
          static_cast<std::uint16_t>(0x4000 + std::hash<std::string>{}(plan_.rules.table) % 0x8000),
          longest_queue(plan_.what), detoured_mark(plan_.rules),
          plan_.what.content()       ? PacketQueue::Take::bytes
          : plan_.what.each_packet() ? PacketQueue::Take::each
                                     : PacketQueue::Take::notice,
          plan_.ways, pieces && (plan_.what.each_packet() || plan_.what.delay.jitter_ns > 0));
      if (plan_.ends) queue->note_ends(plan_.ends);
      plan_.rules.queue = queue->number();
      queue_ = queue.get();
      engine->add(std::move(queue));
    }
    if (!uses_devices(plan_.rules)) {
      engine->start();
      started_ = true;
    }
    engine_ = std::move(engine);
  });
}

void PacketDetour::start_engine() {
  if (!engine_) get_ready();
  engine_->set_level(level_);
  if (!started_) try {
      in_network_namespace(plan_.network_namespace, plan_.namespace_pid, [&] { add_taps_and_start(); });
    } catch (...) {
      taps_.clear();
      queue_ = nullptr;
      engine_.reset();
      throw;
    }
  engine_->watch(plan_.rules.table);
}

void PacketDetour::add_taps_and_start() {
  for (std::size_t i = 0; i < plan_.rules.points.size(); ++i) {
    auto& point = plan_.rules.points[i];
    if (point.at != HoldPoint::At::leaving) continue;
    auto tap = std::make_unique<Tap>(
        tap_name(plan_, i), alias_of(plan_), ::if_nametoindex(point.device.c_str()),
        detoured_mark(plan_.rules),
        plan_.what.each_packet() ? Tap::Segments::as_on_the_wire : Tap::Segments::whole);
    if (plan_.ends) tap->note_ends(plan_.ends);
    point.tap = tap->index();
    taps_.push_back(tap.get());
    engine_->add(std::move(tap));
  }
  engine_->start();
  started_ = true;
}

void PacketDetour::add_rules() {
  plan_.rules.compat_queue = lacks_queue_expression;
  auto messages = add_detour_rules(plan_.rules);
  auto answer = owner_->exchange(messages);
  if (answer.error == ENOENT && uses_queue(plan_.rules) && !plan_.rules.compat_queue) {
    plan_.rules.compat_queue = true;
    messages = add_detour_rules(plan_.rules);
    answer = owner_->exchange(messages);
    if (answer) lacks_queue_expression = true;
  }
  if (!answer) throw std::runtime_error(answer.text());
  flows_ = false;
}

Undone PacketDetour::remove_rules() {
  flow();
  engine_->release();
  auto gone = delete_detour_tables(plan_.rules);
  const auto answer = owner_->exchange(gone);
  if (answer || answer.error == ENOENT) {
    give_back(owner_->release());
    owner_.reset();
    return {};
  }
  owner_.reset();  // what it owns goes with it
  return {UndoOutcome::failed, fmt::format("remove the table {}: {}", plan_.rules.table, answer.text()), ""};
}

Undone PacketDetour::stop_engine() {
  if (engine_) {
    engine_->release();
    last_ = engine_->measure();
    queue_ = nullptr;
    taps_.clear();
    engine_.reset();
  }
  owner_.reset();
  return {};
}

namespace detour {

Inverse owned_tables(const DetourRules& rules, std::uint64_t network_namespace, pid_t namespace_pid) {
  return {"nft.table",
          {{"table", rules.table},
           {"inet", uses_queue(rules) || !rules.senders.empty()},
           {"netdev", uses_devices(rules)},
           {"netns", network_namespace},
           {"pid", namespace_pid},
           {"owner", ::getpid()},
           {"owner_ticks", read_process_stat(::getpid())->start_ticks}}};
}

void lead_packets(Transaction& transaction, std::shared_ptr<PacketDetour> delay, const std::string& what) {
  auto& plan = delay->plan();
  bool first = true;
  for (std::size_t i = 0; i < plan.rules.points.size(); ++i) {
    auto& point = plan.rules.points[i];
    if (point.at != HoldPoint::At::leaving) continue;
    Change tap;
    tap.what = fmt::format("add the tap device {} to carry what leaves {}", tap_name(plan, i), point.device);
    tap.inverse =
        links::removal(tap_name(plan, i), alias_of(plan), plan.network_namespace, plan.namespace_pid);
    if (std::exchange(first, false)) {
      tap.act = [delay] { delay->start_engine(); };
      tap.release = [delay] { return delay->stop_engine(); };
    } else {
      tap.act = [] {};
      tap.release = [] { return Undone{}; };
    }
    transaction.add(std::move(tap));
  }
  Change tables;
  std::string families = uses_devices(plan.rules) ? "netdev" : "";
  if (uses_queue(plan.rules) || !plan.rules.senders.empty())
    families += families.empty() ? "inet" : " and inet";
  tables.what = fmt::format("add the nftables table {} ({}), owned by this process, to hold {}",
                            plan.rules.table, families, what);
  tables.inverse = owned_tables(plan.rules, plan.network_namespace, plan.namespace_pid);
  const bool engine_too = first;
  tables.act = [delay, engine_too] {
    if (engine_too) delay->start_engine();
    try {
      delay->add_rules();
    } catch (...) {
      if (engine_too) delay->stop_engine();
      throw;
    }
  };
  tables.release = [delay, engine_too] {
    auto undone = delay->remove_rules();
    if (engine_too) delay->stop_engine();
    return undone;
  };
  transaction.add(std::move(tables));
}

}  // namespace detour
}  // namespace squall

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("remove the nftables table {}, which also goes by itself with its owner",
                     text_of(with, "table"));
}

std::vector<nft::Family> families_of(const boost::json::object& with) {
  std::vector<nft::Family> out;
  for (auto [key, family] : {std::pair{"inet", nft::Family::inet}, std::pair{"netdev", nft::Family::netdev}})
    if (auto* member = with.if_contains(key); member && member->is_bool() && member->get_bool())
      out.push_back(family);
  return out;
}

// The kernel lets nobody but the owner touch such a table (NFT_TABLE_F_OWNER), and removes it when the
// owner's socket is closed, which the end of a process does: all that can be done is to see whether it is
// gone.
Undone look(const boost::json::object& with) {
  const auto table = text_of(with, "table");
  const auto owner = static_cast<pid_t>(number_of(with, "owner"));
  for (auto family : families_of(with)) {
    if (!nft::table_exists(family, table)) continue;
    const auto stat = read_process_stat(owner);
    const bool alive = stat && stat->start_ticks == number_of(with, "owner_ticks") && stat->state != 'Z';
    return {UndoOutcome::failed,
            fmt::format("the nftables table {} {} is still there{}", nft::name_of(family), table,
                        alive ? ", held by its owner" : ""),
            alive ? fmt::format("kill {}", owner)
                  : fmt::format("nft delete table {} {}", nft::name_of(family), table)};
  }
  Undone gone{UndoOutcome::already, "", ""};
  // Those that the kernel had not handed over yet are not among them.
  if (const auto held = HeldCount::take(table); held.value_or(0) > 0)
    gone.cost = fmt::format("at least {} packets that it held are lost", *held);
  return gone;
}

Undone carry_out(const boost::json::object& with) {
  return in_namespace_of(with, look);
}

}  // namespace

const UndoVerb nft_table{"nft.table", describe, carry_out, {"nftables"}};

}  // namespace squall::undo
