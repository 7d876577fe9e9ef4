// network.down: a device goes down, once or again and again.
#include <cmath>

#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/faults/aim/network_device.hpp"
#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/fault.hpp"
#include "injector/host/interfaces/interface_restore.hpp"
#include "injector/host/packets/device_probe.hpp"
#include "injector/system/control_ports.hpp"
#include "injector/system/process.hpp"

namespace squall {

namespace asio = boost::asio;

namespace faults {

struct NetworkDown {
  std::optional<Duration> down_for, up_for;
  bool allow_isolation = false;
};

}  // namespace faults

template <>
struct Describe<faults::NetworkDown> {
  static const Object<faults::NetworkDown>& object() {
    using faults::NetworkDown;
    static const auto schema =
        Object<NetworkDown>{"a device is down"}
            .optional("down_for", &NetworkDown::down_for, "flapping: so long down, then up again, and so on",
                      "down until the end")
            .between(&NetworkDown::down_for, Duration{100'000'000}, Duration{86'400'000'000'000})
            .optional("up_for", &NetworkDown::up_for, "flapping: so long up in between", "as long as down")
            .between(&NetworkDown::up_for, Duration{100'000'000}, Duration{86'400'000'000'000})
            .optional("allow_isolation", &NetworkDown::allow_isolation,
                      "even where the default route or our own control goes through it, or it is lo", "false")
            .rule([](const NetworkDown& with, const Value& value, Diagnostics& diagnostics) {
              if (with.up_for && !with.down_for)
                diagnostics.error(faults::place_of(value, "up_for"), "expected down_for beside it");
            });
    return schema;
  }
};

namespace faults {
namespace {

// More than that would not be back within half a second.
constexpr std::size_t most_things = 10'000;

// Why the host, or our own control of it, would be cut off; "" where it would not.
std::string isolates(const AimedDevice& device) {
  if (device.place.pid) return "";
  if (device.state.link.loopback) return "it is how the host talks to itself";
  if (const auto by = links::default_route_by(device.state); !by.empty())
    return by == device.state.link.name
               ? "the default route goes through it"
               : fmt::format("the default route goes through {}, which stands on it", by);
  for (auto& connection : ssh_connections())
    if (links::leads_to(device.state, connection.client))
      return fmt::format("the connection from {}, by which we are told what to do, goes through it",
                         connection.client);
  return "";
}

// What nobody would bring back; "" where there is nothing.
std::string loses_elsewhere(const AimedDevice& device) {
  for (auto& upper : device.uppers_elsewhere)
    if (links::closes_with_lower(upper.link) && upper.link.up)
      return fmt::format(
          "{} in the network namespace {} would go down with it and lose its routes, which are not ours to "
          "bring back",
          upper.link.name, upper.network_namespace);
  return "";
}

class Down : public Fault {
 public:
  Down(const NetworkDown& with, AimedDevice device, const Setting& setting)
      : with_(with), device_(std::move(device)), setting_(setting) {}

  std::string mechanism() const override { return std::string(device_mechanism); }
  std::vector<std::string> targets() const override {
    std::vector<std::string> out{device_.to_string()};
    for (auto& upper : device_.state.uppers)
      if (upper.link.up)
        out.push_back(fmt::format("{}, which {}", upper.link.name,
                                  upper.goes_down ? "goes down with it"
                                  : upper.cut_off ? "loses its carrier with it"
                                                  : "has it as one of its ports"));
    return out;
  }
  Reach reach() const override { return device_.place.reach({device_.state.link.index}); }
  std::vector<std::string> claims() const override {
    return {fmt::format("the state of the device {} of {}", device_.state.link.name,
                        device_.place.network_namespace)};
  }
  std::vector<std::string> limits() const override {
    std::vector<std::string> out{
        "IPv6 addresses can be used again when it is sure that nobody else has them, after a second or two"};
    if (const auto nexthops = device_.state.tables.nexthops.size())
      out.push_back(fmt::format(
          "{} nexthop objects, and the routes by them, can be made again only when there is a carrier: where "
          "that takes longer than two seconds, it is told with the commands, and squall undo does it",
          nexthops));
    if (with_.down_for)
      out.emplace_back(
          "routes that somebody adds while it is up in between are lost if the injector is killed while it "
          "is down again");
    if (!device_.state.link.up) out.emplace_back("the device is down already: nothing will change");
    return out;
  }

  void apply(Transaction& transaction) override {
    device_.look_again();
    Change change;
    change.what = fmt::format("put {} down", device_.to_string());
    change.inverse = links::up_again(device_.state, device_.place.network_namespace, device_.hint());
    change.act = [this] {
      if (!device_.state.link.up)
        throw std::runtime_error(fmt::format("{} is down already", device_.state.link.name));
      put(false);
    };
    transaction.add(std::move(change));
  }

  void started() override {
    if (with_.down_for) wait();
  }
  void stopping() override {
    look();
    stopped_ = true;
    timer_.reset();
    if (!is_down_ || !device_.place.watch.device_gone().empty()) return;
    // With what it got while it was up in between, which the journal does not know of.
    try {
      put(true);
    } catch (const std::exception& e) {
      events_.push_back({"interface.unchanged", wall_ns(), {{"why", e.what()}}});
    }
  }

  Dose measure() override {
    look();
    Dose out;
    out.prescribed = {{"state", "down"}};
    if (with_.down_for) out.prescribed["down_for_ms"] = with_.down_for->milliseconds();
    out.measured = {{"times_down", times_},
                    {"seconds_down", std::round(seconds_down() * 1000) / 1000},
                    {"packets_refused", refused_},
                    {"packets_passed", passed_}};
    if (lost_) out.measured["routes_missing"] = lost_;
    out.samples = looks_;
    out.verified = refused_ > 0 && !contradicted_;
    if (contradicted_)
      out.reason = "somebody else put it up again";
    else if (!refused_)
      out.reason = "packets are let out by it all the same";
    return device_.place.watch.in_view(std::move(out));
  }

  std::vector<FaultEvent> events() override {
    auto out = std::exchange(events_, {});
    for (auto& event : device_.place.watch.events())
      out.push_back(std::move(event));
    return out;
  }

 private:
  void put(bool up) {
    device_.in_place([&] {
      // What was added to it since belongs to it as well.
      if (!up && times_ > 0) device_.look_again();
      if (up)
        lost_ = links::bring_back(device_.state, stopped_).absent.size();
      else
        links::set_up(device_.state.link.index, false);
      counted_ = count();
    });
    const auto now = monotonic_ns();
    since_ = now;
    is_down_ = !up;
    times_ += !up;
    if (times_ > 1 || up)
      events_.push_back(
          {up ? "interface.up" : "interface.down", wall_ns(), {{"interface", device_.state.link.name}}});
  }

  std::uint64_t count() const {
    const auto traffic = links::traffic(device_.state.link.index);
    return traffic.received + traffic.sent;
  }

  void look() {
    if (stopped_ || times_ == 0 || !device_.place.watch.device_gone().empty()) return;
    device_.in_place([&] {
      // A nexthop waits for the carrier.
      if (!is_down_ && lost_) lost_ = links::bring_back(device_.state, false).absent.size();
      if (!is_down_) return;
      const auto link = links::find_again(device_.state.link);
      if (!link) return;
      ++looks_;
      // Nothing of ours leaves by a device that somebody put up again.
      if (link->up)
        contradicted_ = true;
      else
        refused_ += links::refusal_by(*link) != 0;
      const auto at = monotonic_ns();
      if (!link->up) down_ns_ += at - since_;
      since_ = at;
      const auto now = count();
      passed_ += now - std::min(now, std::exchange(counted_, now));
    });
  }

  // Counted from look to look: it is down while nobody else puts it up.
  double seconds_down() const { return static_cast<double>(down_ns_) / 1e9; }

  void wait() {
    if (!setting_.io || stopped_) return;
    timer_ = std::make_unique<asio::steady_timer>(
        *setting_.io, (is_down_ ? *with_.down_for : with_.up_for.value_or(*with_.down_for)).chrono());
    timer_->async_wait([this](auto error) {
      if (error || stopped_) return;
      look();
      if (!device_.place.watch.device_gone().empty()) return;
      try {
        put(is_down_);
      } catch (const std::exception& e) {
        events_.push_back({"interface.unchanged", wall_ns(), {{"why", e.what()}}});
      }
      wait();
    });
  }

  NetworkDown with_;
  AimedDevice device_;
  Setting setting_;
  std::unique_ptr<asio::steady_timer> timer_;
  std::vector<FaultEvent> events_;
  std::int64_t since_ = 0, down_ns_ = 0;
  std::uint64_t times_ = 0, looks_ = 0, refused_ = 0, passed_ = 0, counted_ = 0, lost_ = 0;
  bool is_down_ = false, stopped_ = false, contradicted_ = false;
};

std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  NetworkDown with;
  if (!Codec<NetworkDown>::decode(value, with, diagnostics)) return nullptr;
  auto device = find_device(on, setting, diagnostics);
  if (!device) return nullptr;
  if (const auto why = isolates(*device); !why.empty() && !with.allow_isolation) {
    diagnostics.error({}, fmt::format("{} is not put down: {} (allow_isolation: true does it all the same, "
                                      "and the host undoes it by itself)",
                                      device->state.link.name, why));
    return nullptr;
  }
  if (const auto why = loses_elsewhere(*device); !why.empty()) {
    diagnostics.error({}, fmt::format("{} is not put down: {}", device->state.link.name, why));
    return nullptr;
  }
  if (const auto things = device->state.tables.size(); things > most_things) {
    diagnostics.error({}, fmt::format("{} is not put down: {} addresses and routes would have to be added "
                                      "again, and {} at most are promised",
                                      device->state.link.name, things, most_things));
    return nullptr;
  }
  return std::make_unique<Down>(with, std::move(*device), setting);
}

std::vector<Capability> doctor() {
  return device_doctor(
      "whether the kernel still lets a packet of our own out by it, and how many packets it counts "
      "meanwhile; not what those who use it notice");
}

}  // namespace

extern const FaultType network_down;
const FaultType network_down{
    .name = "network.down",
    .sentence = "puts a network device down, once or flapping, as a pulled cable or a bad transceiver would",
    .parameters = &Describe<NetworkDown>::object(),
    .aims = device_aims(),
    .lasting = true,
    .ramps = false,
    .undo =
        "the device is put up again, and gets back its IPv6 addresses, routes, nexthops, permanent "
        "neighbours and proxies, which going down takes from it; VLANs on it as well",
    .examples = {"--on interface=eth1 --for 30s", "down_for=2s up_for=5s --on interface=eth1 --for 1m"},
    .prepare = prepare,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
