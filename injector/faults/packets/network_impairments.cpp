// The faults on packets one by one: network.delay, loss, duplicate, corrupt, reorder and rate, and
// network.impair, which takes any of them together. One structure; each fault declares the part of it that it
// reads.
#include <fmt/format.h>

#include "injector/faults/packets/packet_fault.hpp"
#include "scenarios/model/samples.hpp"

namespace squall {

namespace faults {

struct GilbertElliott {
  Percent worsens, recovers;
  Percent when_bad{100}, when_good;
};

struct Markov {
  Percent p13, p31, p32, p23, p14;
};

struct PacketImpairment {
  std::optional<Duration> delay, jitter;
  std::optional<Distribution> distribution;
  std::optional<Percent> correlation;
  Samples samples;

  std::optional<Percent> loss, loss_correlation;
  std::optional<double> loss_burst;
  std::optional<std::uint32_t> every;
  std::optional<GilbertElliott> gilbert_elliott;
  std::optional<Markov> markov;

  std::optional<Percent> duplicate, corrupt, reorder;
  std::optional<std::uint32_t> gap;

  std::optional<Rate> rate;
  std::optional<Size> bucket, queue;

  NetworkPackets packets;
};

}  // namespace faults

template <>
struct EnumNames<Distribution> {
  using D = Distribution;
  static constexpr std::array<std::pair<std::string_view, D>, 4> names{{{"uniform", D::uniform},
                                                                        {"normal", D::normal},
                                                                        {"pareto", D::pareto},
                                                                        {"paretonormal", D::paretonormal}}};
};

template <>
struct Describe<faults::GilbertElliott> {
  static const Object<faults::GilbertElliott>& object() {
    using faults::GilbertElliott;
    constexpr Percent least{0.000001}, none{0}, all{100};
    static const auto schema =
        Object<GilbertElliott>{"two states, a good and a bad one, with a loss of their own each"}
            .required("worsens", &GilbertElliott::worsens,
                      "the chance to go from the good state to the bad one, packet by packet")
            .between(&GilbertElliott::worsens, least, all)
            .required("recovers", &GilbertElliott::recovers, "the chance to go back")
            .between(&GilbertElliott::recovers, least, all)
            .optional("when_bad", &GilbertElliott::when_bad, "the share that is lost in the bad state",
                      "100%")
            .between(&GilbertElliott::when_bad, none, all)
            .optional("when_good", &GilbertElliott::when_good, "the share that is lost in the good state",
                      "0%")
            .between(&GilbertElliott::when_good, none, all);
    return schema;
  }
};

template <>
struct Describe<faults::Markov> {
  static const Object<faults::Markov>& object() {
    using faults::Markov;
    constexpr Percent none{0}, all{100};
    static const auto schema =
        Object<Markov>{
            "four states, as tc-netem(8) has them: 1 packets pass, 3 a burst of losses, 2 packets pass "
            "within a burst, 4 one packet alone is lost"}
            .required("p13", &Markov::p13, "the chance to go from 1 to 3, packet by packet")
            .between(&Markov::p13, none, all)
            .required("p31", &Markov::p31, "from 3 to 1")
            .between(&Markov::p31, none, all)
            .optional("p32", &Markov::p32, "from 3 to 2", "0%")
            .between(&Markov::p32, none, all)
            .optional("p23", &Markov::p23, "from 2 to 3", "0%")
            .between(&Markov::p23, none, all)
            .optional("p14", &Markov::p14, "from 1 to 4", "0%")
            .between(&Markov::p14, none, all)
            .rule([](const Markov& m, const Value& value, Diagnostics& diagnostics) {
              if (m.p13.value + m.p14.value > 100)
                diagnostics.error(value.place, "expected p13 and p14 to make up 100% at most");
              if (m.p31.value + m.p32.value > 100)
                diagnostics.error(value.place, "expected p31 and p32 to make up 100% at most");
              if (m.p13.value + m.p14.value <= 0)
                diagnostics.error(value.place, "expected a p13 or a p14 above 0: nothing would be lost");
              if (m.p32.value > 0 && m.p23.value <= 0)
                diagnostics.error(value.place,
                                  "expected a p23 above 0 beside p32: from state 2 there would be no way on");
            });
    return schema;
  }
};

namespace faults {
namespace {

using P = PacketImpairment;
using Schema = Object<P>;
using Rule = std::function<void(const P&, const Value&, Diagnostics&)>;

constexpr Duration longest{3'600'000'000'000};
constexpr Percent least_share{0.001}, all{100};

Schema& with_delay(Schema& schema, bool jitter) {
  schema
      .optional(
          "delay", &P::delay,
          "how long each packet waits, one way; 0 only leads packets through the mechanism, to rehearse")
      .between(&P::delay, Duration{0}, longest);
  if (!jitter) return schema;
  return schema
      .optional("jitter", &P::jitter,
                "how much the delay varies from packet to packet, which reorders them: the standard "
                "deviation (uniform: the half width)")
      .between(&P::jitter, Duration{1'000}, longest)
      .optional("distribution", &P::distribution, "of the jitter", "normal")
      .optional("correlation", &P::correlation, "of each packet's jitter with that of the one before", "0%")
      .optional("samples", &P::samples,
                "recorded delays instead, one of which each packet gets at random: a list, or a file beside "
                "the scenario with one a line (12ms, or milliseconds)",
                "none")
      .rule([](const P& with, const Value& value, Diagnostics& diagnostics) {
        auto place = [&](const char* key) { return place_of(value, key); };
        if (with.distribution && !with.jitter)
          diagnostics.error(place("distribution"), "expected a jitter beside the distribution");
        if (with.correlation && !with.jitter && with.samples.empty())
          diagnostics.error(place("correlation"), "expected a jitter beside the correlation");
        if (with.jitter && !with.delay)
          diagnostics.error(place("jitter"), "expected a delay beside the jitter");
        if (with.jitter && with.delay && *with.jitter > *with.delay)
          diagnostics.error(place("jitter"),
                            fmt::format("expected a jitter of at most the delay ({}), got {}",
                                        to_string(*with.delay), to_string(*with.jitter)));
        if (!with.samples.empty() && (with.delay || with.jitter))
          diagnostics.error(place("samples"), "expected either samples or a delay");
        const auto& delays = with.samples.delays;
        if (delays.size() == 1 || delays.size() > Samples::most)
          diagnostics.error(place("samples"), fmt::format("expected {} to {} samples, got {}", Samples::least,
                                                          Samples::most, delays.size()));
        for (auto& sample : delays)
          if (sample.ns < 0 || sample > Samples::longest)
            return diagnostics.error(place("samples"), "expected samples of 0 to 1h");
      });
}

Schema& with_loss(Schema& schema) {
  return schema
      .optional("loss", &P::loss, "the share of packets that is lost, in the long run, in each direction")
      .between(&P::loss, least_share, all)
      .optional("loss_burst", &P::loss_burst,
                "how many packets are lost in a row, on average (Gilbert's model)", "each packet for itself")
      .between(&P::loss_burst, 1.0, 1'000'000.0)
      .optional("loss_correlation", &P::loss_correlation, "of each packet's fate with that of the one before",
                "0%")
      .between(&P::loss_correlation, Percent{0}, Percent{99.99})
      .optional("every", &P::every, "every so manieth packet is lost instead; by our own packet queue only")
      .between(&P::every, std::uint32_t{1}, std::uint32_t{1'000'000'000})
      .optional("gilbert_elliott", &P::gilbert_elliott, "losses by the model of Gilbert and Elliott instead")
      .optional("markov", &P::markov, "losses by a model of four states instead")
      .rule([](const P& with, const Value& value, Diagnostics& diagnostics) {
        auto place = [&](const char* key) { return place_of(value, key); };
        const int models = with.loss.has_value() + with.every.has_value() + with.gilbert_elliott.has_value() +
                           with.markov.has_value();
        if (models > 1)
          diagnostics.error(value.place, "expected only one of loss, every, gilbert_elliott and markov");
        if (with.loss_burst && !with.loss)
          diagnostics.error(place("loss_burst"), "expected a loss beside loss_burst");
        if (with.loss_correlation && !with.loss)
          diagnostics.error(place("loss_correlation"), "expected a loss beside loss_correlation");
        if (with.loss_burst && with.loss_correlation)
          diagnostics.error(place("loss_correlation"), "expected either loss_burst or loss_correlation");
        // Between two bursts there is one packet at least.
        const double most = with.loss_burst ? *with.loss_burst / (*with.loss_burst + 1) : 1;
        if (with.loss && with.loss->fraction() > most)
          diagnostics.error(place("loss"),
                            fmt::format("expected a loss of at most {:.4g}% with bursts of {:.4g} packets",
                                        100 * most, *with.loss_burst));
      });
}

Schema& with_duplicate(Schema& schema) {
  return schema.optional("duplicate", &P::duplicate, "the share of packets that come twice")
      .between(&P::duplicate, least_share, all);
}

Schema& with_corrupt(Schema& schema) {
  return schema
      .optional("corrupt", &P::corrupt,
                "the share of packets in which one bit is turned over; checksums are not mended")
      .between(&P::corrupt, least_share, all);
}

Schema& with_reorder(Schema& schema) {
  return schema
      .optional("reorder", &P::reorder,
                "the share of packets that are not delayed, and so overtake those that are")
      .between(&P::reorder, least_share, all)
      .optional("gap", &P::gap, "only every so manieth packet may overtake", "1")
      .between(&P::gap, std::uint32_t{1}, std::uint32_t{1'000'000})
      .rule([](const P& with, const Value& value, Diagnostics& diagnostics) {
        if (with.gap && !with.reorder)
          diagnostics.error(place_of(value, "gap"), "expected a reorder beside the gap");
        if (with.reorder && with.samples.empty() && (!with.delay || with.delay->ns == 0))
          diagnostics.error(place_of(value, "reorder"),
                            "expected a delay beside reorder: the time by which the others are overtaken");
      });
}

Schema& with_rate(Schema& schema) {
  return schema
      .optional("rate", &P::rate,
                "how much passes in a second at most, link headers included, in each direction, over all "
                "devices together")
      .between(&P::rate, Rate{1'000}, Rate{std::int64_t{1} << 37})
      .optional("bucket", &P::bucket, "how much may pass at once after a pause",
                "10 ms of the rate, at least 2 KiB")
      .between(&P::bucket, Size{1'600}, Size{std::int64_t{1} << 31})
      .optional("queue", &P::queue, "how much may wait; what comes beyond is lost",
                "100 ms of the rate, at least 16 KiB")
      .between(&P::queue, Size{1'600}, Size{std::int64_t{1} << 31})
      .rule([](const P& with, const Value& value, Diagnostics& diagnostics) {
        if (with.bucket && !with.rate)
          diagnostics.error(place_of(value, "bucket"), "expected a rate beside the bucket");
        if (with.queue && !with.rate)
          diagnostics.error(place_of(value, "queue"), "expected a rate beside the queue");
      });
}

bool loses(const P& with) {
  return with.loss || with.every || with.gilbert_elliott || with.markov;
}

Schema finished(Schema schema, bool (*asks)(const P&), const char* expected) {
  schema.including(&P::packets);
  schema.rule([asks, expected](const P& with, const Value& value, Diagnostics& diagnostics) {
    if (!asks(with)) diagnostics.error(value.place, expected);
  });
  return schema;
}

const Schema& delay_schema() {
  static const auto schema = [] {
    Schema out{"delays packets"};
    return finished(
        with_delay(out, true), [](const P& p) { return p.delay || !p.samples.empty(); },
        "expected a delay, or samples");
  }();
  return schema;
}

const Schema& loss_schema() {
  static const auto schema = [] {
    Schema out{"loses packets"};
    return finished(with_loss(out), loses, "expected a loss, or one of every, gilbert_elliott and markov");
  }();
  return schema;
}

const Schema& duplicate_schema() {
  static const auto schema = [] {
    Schema out{"repeats packets"};
    return finished(
        with_duplicate(out), [](const P& p) { return p.duplicate.has_value(); },
        "expected a duplicate: the share that comes twice");
  }();
  return schema;
}

const Schema& corrupt_schema() {
  static const auto schema = [] {
    Schema out{"corrupts packets"};
    return finished(
        with_corrupt(out), [](const P& p) { return p.corrupt.has_value(); },
        "expected a corrupt: the share that is changed");
  }();
  return schema;
}

const Schema& reorder_schema() {
  static const auto schema = [] {
    Schema out{"lets packets overtake others"};
    with_delay(out, true);
    return finished(
        with_reorder(out), [](const P& p) { return p.reorder.has_value(); },
        "expected a reorder: the share that overtakes");
  }();
  return schema;
}

const Schema& rate_schema() {
  static const auto schema = [] {
    Schema out{"limits the bandwidth"};
    with_delay(out, false);
    return finished(
        with_rate(out), [](const P& p) { return p.rate.has_value(); },
        "expected a rate: what passes in a second");
  }();
  return schema;
}

const Schema& impair_schema() {
  static const auto schema = [] {
    Schema out{"impairs packets in any of these ways together"};
    with_delay(out, true);
    with_loss(out);
    with_duplicate(out);
    with_corrupt(out);
    with_reorder(out);
    return finished(
        with_rate(out),
        [](const P& p) {
          return p.delay || !p.samples.empty() || loses(p) || p.duplicate || p.corrupt || p.rate;
        },
        "expected one at least of delay, samples, loss, every, gilbert_elliott, markov, duplicate, corrupt "
        "and rate");
  }();
  return schema;
}

DelayShape delay_of(const P& with) {
  DelayShape out;
  if (!with.samples.empty()) {
    std::vector<std::int64_t> ns;
    for (auto& sample : with.samples.delays)
      ns.push_back(sample.ns);
    out = recorded_delays(std::move(ns));
  } else {
    out.delay_ns = with.delay.value_or(Duration{}).ns;
    out.jitter_ns = with.jitter.value_or(Duration{}).ns;
    out.distribution = with.distribution.value_or(Distribution::normal);
  }
  out.correlation = with.correlation.value_or(Percent{}).fraction();
  return out;
}

std::optional<LossShape> loss_of(const P& with) {
  LossShape out;
  if (with.every) {
    out.every = *with.every;
  } else if (auto& model = with.markov) {
    out.markov = MarkovLoss{model->p13.fraction(), model->p31.fraction(), model->p32.fraction(),
                            model->p23.fraction(), model->p14.fraction()};
  } else if (auto& two = with.gilbert_elliott) {
    out = {two->worsens.fraction(),
           two->recovers.fraction(),
           two->when_bad.fraction(),
           two->when_good.fraction(),
           {},
           0};
  } else if (with.loss) {
    const double share = with.loss->fraction();
    out = with.loss_burst && share < 1
              ? LossShape::in_bursts(share, *with.loss_burst)
              : LossShape::correlated(share, with.loss_correlation.value_or(Percent{}).fraction());
  } else {
    return {};
  }
  return out;
}

std::optional<RateShape> rate_of(const P& with) {
  if (!with.rate) return {};
  const auto rate = with.rate->bytes_per_second;
  return RateShape{static_cast<double>(rate),
                   with.bucket.value_or(Size{std::max<std::int64_t>(2048, rate / 100)}).bytes,
                   with.queue.value_or(Size{std::max<std::int64_t>(16'384, rate / 10)}).bytes};
}

template <const Schema& (*schema)()>
std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  P with;
  if (!schema().decode(value, with, diagnostics)) return nullptr;
  if (!with.samples.file.empty()) {
    diagnostics.error(place_of(value, "samples"),
                      fmt::format("expected the delays themselves: the injector does not read {}",
                                  quote(with.samples.file)));
    return nullptr;
  }
  Impairment what;
  what.delay = delay_of(with);
  what.loss = loss_of(with);
  what.duplicate = with.duplicate.value_or(Percent{}).fraction();
  what.corrupt = with.corrupt.value_or(Percent{}).fraction();
  if (with.reorder) what.reorder = ReorderShape{with.reorder->fraction(), with.gap.value_or(1)};
  what.rate = rate_of(with);
  return packet_fault(what, with.packets, value, on, setting, diagnostics);
}

constexpr std::string_view rules_go = "the rules that pick the packets go; from then on every packet passes";
constexpr std::string_view let_go =
    "the rules that pick the packets go first, so that packets pass at once; those that wait follow in "
    "order, soon but not in one burst";

template <const Schema& (*schema)()>
FaultType type(std::string_view name, std::string_view sentence, std::string_view undo,
               std::vector<std::string> examples) {
  return {.name = name,
          .sentence = sentence,
          .parameters = &schema(),
          .aims = packet_aims(),
          .lasting = true,
          .ramps = true,
          .together = "network.impair",
          .undo = undo,
          .examples = std::move(examples),
          .prepare = prepare<schema>,
          .doctor = packet_fault_doctor};
}

}  // namespace

extern const FaultType network_delay, network_loss, network_duplicate, network_corrupt, network_reorder,
    network_rate, network_impair;

const FaultType network_delay = type<delay_schema>(
    "network.delay", "delays packets, as a long or crowded path would", let_go,
    {"delay=80ms --on listens_on=6379 --for 30s",
     "delay=100ms jitter=20ms direction=both to=10.0.0.0/8 --on interface=eth0 --for 1m",
     "delay=80ms port=6379 --on interface=lo --for 30s", "samples=rtt.txt --on interface=eth0 --for 30s"});
const FaultType network_loss = type<loss_schema>(
    "network.loss", "loses packets, one by one or in bursts, as a crowded or broken path would", rules_go,
    {"loss=5% --on interface=eth0 --for 30s",
     "loss=2% loss_burst=4 direction=both to=10.0.0.0/8 --on interface=eth0 --for 1m",
     "loss=10% --on listens_on=6379 --for 30s"});
const FaultType network_duplicate = type<duplicate_schema>(
    "network.duplicate", "repeats packets, as a path with a loop or a retrying link would", rules_go,
    {"duplicate=1% --on interface=eth0 --for 30s"});
const FaultType network_corrupt =
    type<corrupt_schema>("network.corrupt", "turns over a bit in packets, as a broken cable or memory would",
                         rules_go, {"corrupt=0.1% --on interface=eth0 --for 30s"});
const FaultType network_reorder =
    type<reorder_schema>("network.reorder", "lets packets overtake others, as several paths at once would",
                         let_go, {"reorder=25% delay=10ms --on interface=eth0 --for 30s"});
const FaultType network_rate =
    type<rate_schema>("network.rate", "limits the bandwidth, as a thin or crowded line would", let_go,
                      {"rate=1mbit --on interface=eth0 --for 30s",
                       "rate=500kB/s queue=64KiB delay=40ms --on listens_on=8080 --for 1m"});
const FaultType network_impair = type<impair_schema>(
    "network.impair", "impairs packets in several ways at once, as a bad line would", let_go,
    {"delay=60ms jitter=10ms loss=1% duplicate=0.1% --on interface=eth0 --for 1m"});

}  // namespace faults
}  // namespace squall
