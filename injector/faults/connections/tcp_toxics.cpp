// tcp.latency, bandwidth, slow_close, timeout, reset_peer, slicer and limit_data: each toxic as a fault.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "injector/faults/aim/network_packets.hpp"
#include "injector/faults/connections/tcp_fault.hpp"
#include "injector/faults/dose/held_dose.hpp"
#include "injector/faults/dose/share_dose.hpp"
#include "injector/faults/dose/throttle_dose.hpp"
#include "scenarios/text/readable.hpp"

namespace squall {
namespace faults {

using proxy::LinkCounters;
using proxy::ProxyStatistics;
using proxy::Toxic;
using proxy::ToxicType;

// One structure for all: each fault declares the parameters that it has.
struct TcpToxic {
  TcpPlace place;
  Duration latency, jitter{}, delay{}, after{};
  Rate rate;
  Size size, variation{}, bytes;
};

}  // namespace faults

namespace faults {
namespace {

std::int64_t in_ms(Duration d) {
  return d.ns / 1'000'000;
}

// Of the directions that are meant.
std::vector<const LinkCounters*> links_of(const ProxyStatistics& seen, const TcpPlace& place) {
  std::vector<const LinkCounters*> out;
  if (place.direction != TcpDirection::upstream) out.push_back(&seen.down);
  if (place.direction != TcpDirection::downstream) out.push_back(&seen.up);
  return out;
}

template <class Field>
auto sum(const ProxyStatistics& seen, const TcpPlace& place, Field LinkCounters::* field) {
  Field out{};
  for (auto* link : links_of(seen, place))
    out += link->*field;
  return out;
}

Dose latency_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  const auto prescribed = with.latency.milliseconds(), jitter = with.jitter.milliseconds();
  out.prescribed = {{"latency_ms", prescribed}};
  if (jitter > 0) out.prescribed["jitter_ms"] = jitter;
  HeldTimes times;
  for (auto* link : links_of(seen, with.place))
    times.add(*link);
  out.samples = times.held.size();
  if (times.held.empty()) {
    out.reason = "nothing was sent over the connections: nothing was delayed";
    return out;
  }
  out.measured = {{"latency_ms", rounded(quantile(times.held, 0.5))},
                  {"latency_p95_ms", rounded(quantile(times.held, 0.95))}};
  // The order is kept: on a stream with jitter, pieces wait for those before them as well.
  if (jitter > 0) out.measured["rolled_ms"] = rounded(quantile(times.rolled, 0.5));
  out.reason = times.held.size() < 3
                   ? fmt::format("only {} pieces were sent: too few to tell", times.held.size())
                   : unlike(times, with.latency, with.jitter, "pieces");
  out.verified = out.reason.empty();
  return out;
}

// Of all connections, while any of them had something waiting.
double rate_together(const ProxyStatistics& seen, const TcpPlace& place) {
  double out = 0;
  for (auto* link : links_of(seen, place))
    if (link->any_waiting_s > 0) out += static_cast<double>(link->waiting_bytes) / link->any_waiting_s;
  return out;
}

Dose bandwidth_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"rate_bytes_per_second", with.rate.bytes_per_second}};
  const auto seconds = sum(seen, with.place, &LinkCounters::waiting_s);
  const auto bytes = sum(seen, with.place, &LinkCounters::waiting_bytes);
  out.samples = sum(seen, with.place, &LinkCounters::pieces);
  if (seconds < 0.3) {
    out.reason = "the connections did not ask for more than the rate: nothing was held back";
    return out;
  }
  const auto rate = static_cast<double>(bytes) / seconds;
  out.measured = {{"rate_bytes_per_second", std::round(rate)},
                  {"rate_together_bytes_per_second", std::round(rate_together(seen, with.place))},
                  {"seconds_at_the_rate", rounded(seconds)}};
  out.verified = std::abs(rate / static_cast<double>(with.rate.bytes_per_second) - 1) <= 0.15;
  if (!out.verified)
    out.reason = fmt::format("expected {} for each connection, measured {} while something waited",
                             readable(static_cast<double>(with.rate.bytes_per_second), with.rate),
                             readable(rate, with.rate));
  return out;
}

Dose slow_close_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"delay_ms", with.delay.milliseconds()}};
  out.samples = sum(seen, with.place, &LinkCounters::ends);
  if (!out.samples) {
    out.reason = "no connection ended: nothing was delayed";
    return out;
  }
  const auto mean = sum(seen, with.place, &LinkCounters::end_held_sum_ms) / static_cast<double>(out.samples);
  out.measured = {{"delay_ms", rounded(mean)}};
  out.verified = mean >= with.delay.milliseconds() * 0.95;
  if (!out.verified)
    out.reason = fmt::format("expected {:g} ms, measured {:.1f} ms", with.delay.milliseconds(), mean);
  return out;
}

Dose timeout_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"swallowed", "everything"}};
  if (with.after.ns) out.prescribed["closed_after_ms"] = with.after.milliseconds();
  const auto swallowed = sum(seen, with.place, &LinkCounters::discarded_bytes);
  const auto closed = seen.closed - seen.unnoticed;
  out.measured = {{"swallowed_bytes", swallowed}, {"connections_closed", closed}};
  out.samples = seen.hit;
  out.verified = swallowed > 0 || closed > 0;
  if (!out.verified) out.reason = "nothing was sent over the connections: nobody had to wait";
  return out;
}

Dose reset_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"reset_after_ms", with.after.milliseconds()}};
  const auto reset = seen.reset - seen.unnoticed;
  out.measured = {{"connections_reset", reset}};
  out.samples = seen.hit;
  out.verified = reset > 0;
  if (!out.verified) out.reason = "nothing was sent over the connections, so none was reset";
  return out;
}

Dose slicer_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"piece_bytes", with.size.bytes}};
  out.samples = sum(seen, with.place, &LinkCounters::pieces);
  if (!out.samples) {
    out.reason = "nothing was sent over the connections: nothing was cut";
    return out;
  }
  const auto mean = static_cast<double>(sum(seen, with.place, &LinkCounters::piece_bytes)) /
                    static_cast<double>(out.samples);
  const auto cuts = sum(seen, with.place, &LinkCounters::cuts);
  out.measured = {{"piece_bytes", std::round(mean)}, {"cuts", cuts}};
  out.verified = cuts > 0 && mean <= 1.2 * static_cast<double>(with.size.bytes + with.variation.bytes);
  if (!cuts)
    out.reason = "nothing that was sent was larger than a piece: nothing was cut";
  else if (!out.verified)
    out.reason = fmt::format("pieces had {:.0f} bytes", mean);
  return out;
}

Dose limit_dose(const ProxyStatistics& seen, const TcpToxic& with) {
  Dose out;
  out.prescribed = {{"bytes", with.bytes.bytes}};
  out.measured = {{"connections_closed", seen.closed}};
  out.samples = seen.hit;
  out.verified = seen.closed > 0;
  if (!out.verified) out.reason = "no connection carried so much: none was closed";
  return out;
}

Toxic toxic_of(ToxicType type, const TcpToxic& with, double level = 1) {
  Toxic out;
  out.type = type;
  out.latency_ms = static_cast<std::int64_t>(std::round(static_cast<double>(in_ms(with.latency)) * level));
  out.jitter_ms = static_cast<std::int64_t>(std::round(static_cast<double>(in_ms(with.jitter)) * level));
  out.rate_kb = std::max<std::int64_t>(with.rate.bytes_per_second / 1000, 1);
  out.delay_ms = static_cast<std::int64_t>(std::round(static_cast<double>(in_ms(with.delay)) * level));
  out.timeout_ms = in_ms(with.after);
  out.average_size = with.size.bytes;
  out.size_variation = with.variation.bytes;
  out.delay_us = with.delay.ns / 1000;
  out.bytes = with.bytes.bytes;
  return out;
}

using Judge = Dose (*)(const ProxyStatistics&, const TcpToxic&);

template <ToxicType type>
const Object<TcpToxic>& schema();

// Toxics count in whole milliseconds, but for the pause of the slicer: what they would leave out is refused.
void in_whole_ms(const TcpToxic& with, const Value& value, Diagnostics& diagnostics) {
  const std::pair<const char*, Duration> all[] = {
      {"latency", with.latency}, {"jitter", with.jitter}, {"delay", with.delay}, {"after", with.after}};
  for (auto& [key, duration] : all)
    if (duration.ns % 1'000'000 != 0)
      diagnostics.error(place_of(value, key),
                        fmt::format("expected whole milliseconds, got {}", to_string(duration)));
}

template <ToxicType type, Judge judge>
std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  TcpToxic with;
  if (!schema<type>().decode(value, with, diagnostics)) return nullptr;
  TcpEffect effect;
  effect.put = [with](proxy::ProxyThread& proxy, double level) {
    // A delay is ramped, else the share of connections.
    auto toxics = in_directions(toxic_of(type, with, type == ToxicType::latency ? level : 1), with.place);
    if (type != ToxicType::latency)
      for (auto& toxic : toxics)
        toxic.toxicity *= level;
    proxy.set_toxics(std::move(toxics));
  };
  if (type == ToxicType::bandwidth)
    effect.limits.push_back(fmt::format(
        "{} is the rate of each connection and direction: 10 connections at once carry {} together; a rate "
        "of all of them is network.rate",
        to_string(with.rate), readable(10.0 * static_cast<double>(with.rate.bytes_per_second), with.rate)));
  if (type == ToxicType::latency)
    effect.limits.emplace_back(
        "connections are made as quickly as before: a client's connect timeout is not tried by it; "
        "network.delay with protocol=tcp, and network.refuse with mode=drop, do that");
  effect.dose = [with](const ProxyStatistics& seen) {
    auto out = judge(seen, with);
    out.measured["connections_hit"] = seen.hit;
    if (with.place.share.value < 100) {
      out.prescribed["share_percent"] = with.place.share.value;
      if (seen.connections)
        out.measured["share_percent"] =
            rounded(100 * static_cast<double>(seen.hit) / static_cast<double>(seen.connections));
    }
    if (!out.verified && !seen.hit && with.place.share.value < 100)
      out.reason = fmt::format("of {} connections the share of {}% hit none", seen.connections,
                               with.place.share.value);
    return out;
  };
  return tcp_fault(std::move(effect), with.place.connections, on, setting, diagnostics);
}

template <>
const Object<TcpToxic>& schema<ToxicType::latency>() {
  static const auto out =
      Object<TcpToxic>{"what is sent arrives later"}
          .required(
              "latency", &TcpToxic::latency,
              "added to everything that is sent, in whole milliseconds; not to the making of connections: "
              "connect timeouts are not tried, see network.delay and network.refuse mode=drop")
          .between(&TcpToxic::latency, Duration{1'000'000}, Duration{600'000'000'000})
          .optional("jitter", &TcpToxic::jitter, "so much more or less, uniformly; the order is kept", "0ms")
          .between(&TcpToxic::jitter, Duration{0}, Duration{600'000'000'000})
          .including(&TcpToxic::place)
          .rule(in_whole_ms);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::bandwidth>() {
  static const auto out = Object<TcpToxic>{"each connection lets so much through"}
                              .required("rate", &TcpToxic::rate, "of each connection and direction")
                              .between(&TcpToxic::rate, Rate{1000}, Rate{10'000'000'000})
                              .including(&TcpToxic::place);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::slow_close>() {
  static const auto out = Object<TcpToxic>{"the end of a connection comes later"}
                              .required("delay", &TcpToxic::delay, "between the end and its arrival")
                              .between(&TcpToxic::delay, Duration{1'000'000}, Duration{600'000'000'000})
                              .including(&TcpToxic::place)
                              .rule(in_whole_ms);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::timeout>() {
  static const auto out = Object<TcpToxic>{"nothing that is sent arrives"}
                              .optional("after", &TcpToxic::after, "the connection is closed after this time",
                                        "never, until the fault ends")
                              .between(&TcpToxic::after, Duration{1'000'000}, Duration{600'000'000'000})
                              .including(&TcpToxic::place)
                              .rule(in_whole_ms);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::reset_peer>() {
  static const auto out = Object<TcpToxic>{"connections are reset when something is sent"}
                              .optional("after", &TcpToxic::after, "so long after the first data", "0ms")
                              .between(&TcpToxic::after, Duration{0}, Duration{600'000'000'000})
                              .including(&TcpToxic::place)
                              .rule(in_whole_ms);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::slicer>() {
  static const auto out =
      Object<TcpToxic>{"what is sent arrives in small pieces"}
          .required("size", &TcpToxic::size, "of a piece, on average")
          .between(&TcpToxic::size, Size{1}, Size{1 << 20})
          .optional("variation", &TcpToxic::variation, "so much more or less, uniformly", "0B")
          .between(&TcpToxic::variation, Size{0}, Size{1 << 20})
          .optional("delay", &TcpToxic::delay, "between two pieces", "0ms")
          .between(&TcpToxic::delay, Duration{0}, Duration{600'000'000'000})
          .including(&TcpToxic::place);
  return out;
}
template <>
const Object<TcpToxic>& schema<ToxicType::limit_data>() {
  static const auto out =
      Object<TcpToxic>{"a connection is closed after so many bytes"}
          .required("bytes", &TcpToxic::bytes, "that pass, in each direction that is meant")
          .between(&TcpToxic::bytes, Size{1}, Size{1'000'000'000'000})
          .including(&TcpToxic::place);
  return out;
}

constexpr const char* undo =
    "the redirection goes, and with it the proxy's part in new connections; those made meanwhile go on "
    "untouched until the session ends";

template <ToxicType type, Judge judge>
FaultType declared(std::string_view name, std::string_view sentence, std::vector<std::string> examples) {
  return {.name = name,
          .sentence = sentence,
          .parameters = &schema<type>(),
          .aims = tcp_aims(),
          .lasting = true,
          .ramps = true,
          .undo = undo,
          .examples = std::move(examples),
          .prepare = prepare<type, judge>,
          .doctor = tcp_fault_doctor};
}

}  // namespace

extern const FaultType tcp_latency, tcp_bandwidth, tcp_slow_close, tcp_timeout, tcp_reset_peer, tcp_slicer,
    tcp_limit_data;
const FaultType tcp_latency = declared<ToxicType::latency, latency_dose>(
    "tcp.latency", "delays what TCP connections carry, without touching a packet, as a slow server would",
    {"latency=200ms --on listens_on=6379 --for 30s",
     "latency=1s jitter=200ms share=10% port=5432 --on unit=playlist.service --for 1m"});
const FaultType tcp_bandwidth = declared<ToxicType::bandwidth, bandwidth_dose>(
    "tcp.bandwidth", "lets each TCP connection carry only so much",
    {"rate=100kB/s --on listens_on=8080 --for 30s"});
const FaultType tcp_slow_close = declared<ToxicType::slow_close, slow_close_dose>(
    "tcp.slow_close", "delays the end of TCP connections", {"delay=5s --on listens_on=8080 --for 1m"});
const FaultType tcp_timeout = declared<ToxicType::timeout, timeout_dose>(
    "tcp.timeout", "swallows what TCP connections carry, as a server that hangs",
    {"--on listens_on=6379 --for 30s", "after=5s share=20% --on listens_on=6379 --for 30s"});
const FaultType tcp_reset_peer = declared<ToxicType::reset_peer, reset_dose>(
    "tcp.reset_peer", "resets TCP connections when they are used, as a server that crashes",
    {"share=30% --on listens_on=6379 --for 30s"});
const FaultType tcp_slicer = declared<ToxicType::slicer, slicer_dose>(
    "tcp.slicer", "cuts what TCP connections carry into small pieces, as a bad network would",
    {"size=64B delay=10ms --on listens_on=6379 --for 30s"});
const FaultType tcp_limit_data = declared<ToxicType::limit_data, limit_dose>(
    "tcp.limit_data", "closes TCP connections after so many bytes, as a server that dies within an answer",
    {"bytes=10kB --on listens_on=8080 --for 30s"});

}  // namespace faults
}  // namespace squall
