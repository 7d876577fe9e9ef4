// network.reset: ends live TCP connections, as a restarted router or an impatient load balancer would
// (SOCK_DESTROY of sock_diag(7)): a reset to the peer, ECONNABORTED to the owner.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/change/records.hpp"
#include "injector/faults/aim/network_aim.hpp"
#include "injector/faults/packets/packet_fault.hpp"
#include "injector/host/connections/tcp_connections.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

namespace asio = boost::asio;

namespace faults {
struct NetworkReset {
  Amount count{.kind = Amount::Kind::all};
  std::optional<Duration> every;
  std::vector<std::string> to, except;
  std::vector<std::uint16_t> port;
  bool allow_isolation = false;
};
}  // namespace faults

template <>
struct Describe<faults::NetworkReset> {
  static const Object<faults::NetworkReset>& object() {
    using faults::NetworkReset;
    static const auto schema =
        Object<NetworkReset>{"ends live TCP connections"}
            .optional(
                "count", &NetworkReset::count,
                "how many of the connections that match, drawn at random: a number, a share of them, or all",
                "all")
            .optional("every", &NetworkReset::every, "again and again in this rhythm until the fault ends",
                      "once")
            .between(&NetworkReset::every, Duration{100'000'000}, Duration{86'400'000'000'000})
            .optional("to", &NetworkReset::to,
                      "only connections with these peers: addresses, networks (10.0.0.0/8) or host names, "
                      "looked up once",
                      "every peer")
            .optional("except", &NetworkReset::except,
                      "of those, leave these peers alone: addresses, networks or host names, looked up once",
                      "none")
            .optional("port", &NetworkReset::port,
                      "only connections with one of these ports, the peer's or its own", "every port")
            .optional("allow_isolation", &NetworkReset::allow_isolation,
                      "end connections of ssh too, which are spared else", "false");
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::string_view mechanism_name = "SOCK_DESTROY (sock_diag)";

class Reset : public Fault {
 public:
  Reset(const NetworkReset& with, NetworkAim aim, const Setting& setting)
      : with_(with), aim_(std::move(aim)), setting_(setting), random_(setting.seed) {}

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return {}; }  // an act: it holds nothing

  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.emplace_back(
        "connections that this host only forwards are not its own and stay; whether their owners connect "
        "again is not measured");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_);
    Change change;
    change.what = fmt::format("end {} of the live TCP connections", to_string(with_.count));
    change.undo_note = "cannot be undone: their owners connect again, or do not";
    change.act = [this] { strike(); };
    transaction.add(std::move(change));
  }

  void started() override {
    if (with_.every) repeat();
  }
  void stopping() override {
    stopped_ = true;
    repeat_.reset();
  }

  Dose measure() override {
    Dose out;
    out.prescribed = {{"count", to_string(with_.count)}};
    out.measured = {{"connections_found", found_}, {"connections_cut", cut_}, {"times", times_}};
    out.samples = found_;
    out.verified = cut_ > 0;
    if (!out.verified)
      out.reason =
          found_ ? "the connections ended before they were cut" : "no connection matched: nothing was cut";
    // What it did once it has done.
    return with_.every ? in_view_of(aim_, std::move(out)) : out;
  }

  std::vector<FaultEvent> events() override {
    auto out = aim_.watch->events();
    for (auto& event : std::exchange(events_, {}))
      out.push_back(std::move(event));
    return out;
  }

 private:
  void strike() {
    CutConnections done;
    if (!aim_.watch->namespace_is_there())
      throw std::runtime_error("the network namespace that is acted in is gone");
    in_network_namespace(aim_.network_namespace, aim_.namespace_pid, [&] {
      done = cut_connections(aim_.matching(Direction::both, aim_.includes_loopback()), aim_.cgroups,
                             with_.count, random_);
    });
    ++times_;
    found_ += done.found;
    cut_ += done.cut;
    if (done.cut)
      events_.push_back({"connections.cut", wall_ns(), {{"connections", done.cut}, {"of", done.found}}});
  }

  void repeat() {
    if (!setting_.io || stopped_) return;
    repeat_ = std::make_unique<asio::steady_timer>(*setting_.io, with_.every->chrono());
    repeat_->async_wait([this](auto error) {
      if (error || stopped_) return;
      try {
        strike();
      } catch (const std::exception& e) {
        events_.push_back({"connections.not_cut", wall_ns(), {{"why", e.what()}}});
      }
      repeat();
    });
  }

  NetworkReset with_;
  NetworkAim aim_;
  Setting setting_;
  std::mt19937_64 random_;
  std::unique_ptr<asio::steady_timer> repeat_;
  std::vector<FaultEvent> events_;
  std::uint64_t found_ = 0, cut_ = 0, times_ = 0;
  bool stopped_ = false;
};

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  NetworkReset with;
  if (!Codec<NetworkReset>::decode(value, with, diagnostics)) return nullptr;
  if (on.interface) {
    diagnostics.error({},
                      "connections belong to no interface: aim at a process, or at the whole host with to or "
                      "port and listens_on");
    return nullptr;
  }
  NetworkPackets packets;
  packets.direction = Direction::both;
  packets.to = with.to;
  packets.except = with.except;
  packets.port = with.port;
  packets.protocol = PacketProtocol::tcp;
  packets.allow_isolation = with.allow_isolation;
  auto aim = aim_at_network(packets, on, setting, diagnostics);
  if (!aim) return nullptr;
  return std::make_unique<Reset>(with, std::move(*aim), setting);
}

std::vector<Capability> doctor() {
  std::string missing;
  try {
    PacketMatch nobody;
    nobody.protocol = Protocol::udp;
    cut_connections(nobody, {});
  } catch (const std::exception& e) {
    missing =
        fmt::format("{} (needs root and a kernel with CONFIG_INET_DIAG_DESTROY: Debian's has it)", e.what());
  }
  return {{.mechanism = std::string(mechanism_name),
           .possible = missing.empty(),
           .chosen = missing.empty(),
           .missing = missing,
           .note = how_processes_are_known(),
           .measures = "how many connections were there, and how many were ended"}};
}

}  // namespace

extern const FaultType network_reset;
const FaultType network_reset{
    .name = "network.reset",
    .sentence =
        "ends live TCP connections, once or again and again, as a restarted router or an impatient load "
        "balancer would",
    .parameters = &Describe<NetworkReset>::object(),
    .aims = {"exe", "command", "listens_on", "pid", "pidfile", "unit", "cgroup", "container", "user"},
    .lasting = false,
    .ramps = false,
    .undo = "cannot be undone: connections that were ended come back only if their owners connect again",
    .examples = {"--on listens_on=6379", "count=30% every=5s --on listens_on=5432 --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
