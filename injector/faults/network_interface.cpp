// network.down and network.mtu: a device goes down, once or again and again, or carries smaller packets.
#include <cmath>
#include <cstdlib>
#include <sstream>

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/fault.hpp"
#include "injector/faults/network_packets.hpp"
#include "injector/host/interface_state.hpp"
#include "injector/host/network_namespace.hpp"
#include "injector/host/process.hpp"
#include "injector/host/records.hpp"

namespace squall {

namespace asio = boost::asio;

namespace faults {

struct NetworkDown {
  std::optional<Duration> down_for, up_for;
  bool allow_isolation = false;
};

struct NetworkMtu {
  std::uint32_t mtu = 0;
};

}  // namespace faults

template <>
struct Describe<faults::NetworkDown> {
  static const Object<faults::NetworkDown>& object() {
    using faults::NetworkDown;
    static const auto schema = Object<NetworkDown>{"a device is down"}
                                   .optional("down_for", &NetworkDown::down_for, "flapping: so long down, then up again, and so on", "down until the end")
                                   .between(&NetworkDown::down_for, Duration{100'000'000}, Duration{86'400'000'000'000})
                                   .optional("up_for", &NetworkDown::up_for, "flapping: so long up in between", "as long as down")
                                   .between(&NetworkDown::up_for, Duration{100'000'000}, Duration{86'400'000'000'000})
                                   .optional("allow_isolation", &NetworkDown::allow_isolation, "even where the default route or our own control goes through it, or it is lo", "false")
                                   .rule([](const NetworkDown& with, const Value& value, Diagnostics& diagnostics) {
                                     if (with.up_for && !with.down_for) diagnostics.error(faults::place_of(value, "up_for"), "expected down_for beside it");
                                   });
    return schema;
  }
};

template <>
struct Describe<faults::NetworkMtu> {
  static const Object<faults::NetworkMtu>& object() {
    using faults::NetworkMtu;
    static const auto schema = Object<NetworkMtu>{"a device carries smaller packets"}
                                   .required("mtu", &NetworkMtu::mtu, "bytes of the largest packet; with IPv6 on the device at least 1280, below which the kernel takes IPv6 away from it (RFC 8200, 5)")
                                   .between(&NetworkMtu::mtu, 68U, 65'536U);
    return schema;
  }
};

namespace faults {
namespace {

constexpr std::string_view mechanism_name = "the device itself (rtnetlink)";

std::optional<links::InterfaceState> find_device(const TargetSpec& on, Diagnostics& diagnostics) {
  if (!on.interface || *on.interface == "any") {
    diagnostics.error({}, "expected the name of one device");
    return {};
  }
  auto out = links::read_state(*on.interface);
  if (!out) {
    std::vector<std::string> names;
    for (auto& link : links::all()) names.push_back(link.name);
    diagnostics.error({}, fmt::format("no interface is called \"{}\"; there are {}", *on.interface, fmt::join(names, ", ")));
  }
  return out;
}

// Why the host, or our own control of it, would be cut off; "" where it would not.
std::string isolates(const links::InterfaceState& device) {
  if (device.link.loopback) return "it is how the host talks to itself";
  if (device.default_route) return "the default route goes through it";
  if (const char* connection = std::getenv("SSH_CONNECTION")) {
    std::string client;
    std::istringstream{connection} >> client;
    if (!client.empty() && links::leads_to(device, client)) return fmt::format("the connection from {}, by which we are told what to do, goes through it", client);
  }
  return "";
}

// A plan may be older than what is done.
links::InterfaceState as_it_is(links::InterfaceState planned, std::uint64_t place) {
  in_network_namespace(place, 0, [&] { planned = links::read_state(planned.link.name).value_or(planned); });
  return planned;
}

class Down : public Fault {
 public:
  Down(const NetworkDown& with, links::InterfaceState device, const Setting& setting) : with_(with), device_(std::move(device)), setting_(setting), place_(current_network_namespace()) {}

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return {device_.link.name}; }
  std::vector<std::string> claims() const override { return {fmt::format("the state of the device {}", device_.link.name)}; }
  std::vector<std::string> limits() const override {
    std::vector<std::string> out{"routes that a router announced come back with its next announcement", "IPv6 addresses can be used again when it is sure that nobody else has them, after a second or two"};
    if (with_.down_for) out.emplace_back("routes that somebody adds while it is up in between are lost if the injector is killed while it is down again");
    if (!device_.link.up) out.emplace_back("the device is down already: nothing will change");
    return out;
  }

  void apply(Transaction& transaction) override {
    device_ = as_it_is(std::move(device_), place_);
    Change change;
    change.what = fmt::format("put {} down", device_.link.name);
    change.inverse = links::up_again(device_, place_, ::getpid());
    change.act = [this] {
      if (!device_.link.up) throw std::runtime_error(fmt::format("{} is down already", device_.link.name));
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
    if (!is_down_) return;
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
    out.measured = {{"times_down", times_}, {"seconds_down", std::round(seconds_down() * 1000) / 1000}};
    if (!lost_.empty()) out.measured["routes_missing"] = lost_.size();
    out.samples = looks_;
    out.verified = seen_down_ && !contradicted_;
    if (contradicted_)
      out.reason = "somebody else put it up again";
    else if (!seen_down_)
      out.reason = "it was not seen down";
    return out;
  }

  std::vector<FaultEvent> events() override { return std::exchange(events_, {}); }

 private:
  void put(bool up) {
    in_network_namespace(place_, 0, [&] {
      // What was added to it since belongs to it as well.
      if (!up && times_ > 0) device_ = links::read_state(device_.link.name).value_or(device_);
      links::set_up(device_.link.index, up);
      if (up) lost_ = links::add_again(device_);
    });
    const auto now = monotonic_ns();
    if (is_down_ && up) down_ns_ += now - since_;
    since_ = now;
    is_down_ = !up;
    times_ += !up;
    if (times_ > 1 || up) events_.push_back({up ? "interface.up" : "interface.down", wall_ns(), {{"interface", device_.link.name}}});
  }

  void look() {
    if (stopped_ || !is_down_) return;
    std::optional<links::Link> link;
    in_network_namespace(place_, 0, [&] { link = links::find(device_.link.name); });
    ++looks_;
    if (link && link->up)
      contradicted_ = true;
    else
      seen_down_ = true;
  }

  double seconds_down() const { return static_cast<double>(down_ns_ + (is_down_ ? monotonic_ns() - since_ : 0)) / 1e9; }

  void wait() {
    if (!setting_.io || stopped_) return;
    timer_ = std::make_unique<asio::steady_timer>(*setting_.io, (is_down_ ? *with_.down_for : with_.up_for.value_or(*with_.down_for)).chrono());
    timer_->async_wait([this](auto error) {
      if (error || stopped_) return;
      look();
      try {
        put(is_down_);
      } catch (const std::exception& e) {
        events_.push_back({"interface.unchanged", wall_ns(), {{"why", e.what()}}});
      }
      wait();
    });
  }

  NetworkDown with_;
  links::InterfaceState device_;
  Setting setting_;
  std::uint64_t place_;
  std::unique_ptr<asio::steady_timer> timer_;
  std::vector<FaultEvent> events_;
  std::vector<std::string> lost_;
  std::int64_t since_ = 0, down_ns_ = 0;
  std::uint64_t times_ = 0, looks_ = 0;
  bool is_down_ = false, stopped_ = false, seen_down_ = false, contradicted_ = false;
};

class Mtu : public Fault {
 public:
  Mtu(const NetworkMtu& with, links::InterfaceState device) : with_(with), device_(std::move(device)), place_(current_network_namespace()) {}

  std::string mechanism() const override { return std::string(mechanism_name); }
  std::vector<std::string> targets() const override { return {fmt::format("{}, whose MTU is {}", device_.link.name, device_.link.mtu)}; }
  std::vector<std::string> claims() const override { return {fmt::format("the MTU of the device {}", device_.link.name)}; }
  std::vector<std::string> limits() const override { return {"whether larger packets arrived is not measured: what they do depends on the other side and the way there"}; }

  void apply(Transaction& transaction) override {
    device_ = as_it_is(std::move(device_), place_);
    Change change;
    change.what = fmt::format("set the MTU of {} to {}", device_.link.name, with_.mtu);
    change.inverse = links::mtu_again(device_, with_.mtu, place_, ::getpid());
    change.act = [this] { in_network_namespace(place_, 0, [&] { links::set_mtu(device_.link.index, with_.mtu); }); };
    transaction.add(std::move(change));
  }

  void stopping() override { read(); stopped_ = true; }

  Dose measure() override {
    read();
    Dose out;
    out.prescribed = {{"mtu", with_.mtu}};
    out.measured = {{"mtu", mtu_}};
    out.samples = 1;
    out.verified = mtu_ == with_.mtu;
    if (!out.verified) out.reason = "somebody else changed it";
    return out;
  }

 private:
  void read() {
    if (stopped_) return;
    in_network_namespace(place_, 0, [&] {
      if (auto link = links::find(device_.link.name)) mtu_ = link->mtu;
    });
  }

  NetworkMtu with_;
  links::InterfaceState device_;
  std::uint64_t place_;
  std::uint32_t mtu_ = 0;
  bool stopped_ = false;
};

std::unique_ptr<Fault> prepare_down(const Value& value, const TargetSpec& on, const Setting& setting, Diagnostics& diagnostics) {
  NetworkDown with;
  if (!Codec<NetworkDown>::decode(value, with, diagnostics)) return nullptr;
  auto device = find_device(on, diagnostics);
  if (!device) return nullptr;
  if (const auto why = isolates(*device); !why.empty() && !with.allow_isolation) {
    diagnostics.error({}, fmt::format("{} is not put down: {} (allow_isolation: true does it all the same, and the host undoes it by itself)", device->link.name, why));
    return nullptr;
  }
  return std::make_unique<Down>(with, std::move(*device), setting);
}

std::unique_ptr<Fault> prepare_mtu(const Value& value, const TargetSpec& on, const Setting&, Diagnostics& diagnostics) {
  NetworkMtu with;
  if (!Codec<NetworkMtu>::decode(value, with, diagnostics)) return nullptr;
  auto device = find_device(on, diagnostics);
  if (!device) return nullptr;
  if (with.mtu < 1280 && links::has_ipv6(*device)) {
    diagnostics.error(place_of(value, "mtu"), fmt::format("{} has IPv6 addresses, which the kernel takes away, with all settings of IPv6 on it, below an MTU of 1280", device->link.name));
    return nullptr;
  }
  return std::make_unique<Mtu>(with, std::move(*device));
}

std::vector<Capability> doctor() {
  const bool root = ::geteuid() == 0;
  return {{.mechanism = std::string(mechanism_name),
           .possible = root,
           .chosen = root,
           .missing = root ? "" : "root, or CAP_NET_ADMIN",
           .note = "",
           .measures = "what the device says of itself; not what those who use it notice"}};
}

}  // namespace

extern const FaultType network_down, network_mtu;
const FaultType network_down{
    .name = "network.down",
    .sentence = "puts a network device down, once or flapping, as a pulled cable or a bad transceiver would",
    .parameters = &Describe<NetworkDown>::object(),
    .aims = {"interface"},
    .lasting = true,
    .ramps = false,
    .undo = "the device is put up again, and gets back its IPv6 addresses, routes and permanent neighbours, which going down takes from it",
    .examples = {"--on interface=eth1 --for 30s", "down_for=2s up_for=5s --on interface=eth1 --for 1m"},
    .prepare = prepare_down,
    .doctor = doctor,
};
const FaultType network_mtu{
    .name = "network.mtu",
    .sentence = "lets a network device carry smaller packets only, as a wrong tunnel or switch would",
    .parameters = &Describe<NetworkMtu>::object(),
    .aims = {"interface"},
    .lasting = true,
    .ramps = false,
    .undo = "the MTU is set to what it was, unless somebody changed it meanwhile",
    .examples = {"mtu=1300 --on interface=eth1 --for 1m"},
    .prepare = prepare_mtu,
    .doctor = doctor,
};

}  // namespace faults
}  // namespace squall
