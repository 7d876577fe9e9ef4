#include "tests/support/small_vocabulary.hpp"

namespace squall {
namespace test {

struct Delay {
  Duration delay;
  std::optional<Duration> jitter;
  std::optional<Percent> correlation;
  std::vector<std::string> to;
  Samples samples;
};

struct Kill {
  std::string signal = "KILL";
  Amount count{Amount::Kind::all, 0, {}};
  std::optional<Duration> every;
};

struct Throttle {
  std::optional<Rate> read_rate, write_rate;
  std::optional<Iops> read_iops, write_iops;
};

}  // namespace test

template <>
struct Describe<test::Delay> {
  static const Object<test::Delay>& object() {
    static const auto object =
        Object<test::Delay>()
            .required("delay", &test::Delay::delay, "how long each packet is held back")
            .between(&test::Delay::delay, Duration{1000}, Duration{3600'000'000'000})
            .optional("jitter", &test::Delay::jitter, "how much the delay varies")
            .optional("correlation", &test::Delay::correlation, "with the delay before")
            .optional("to", &test::Delay::to, "only packets to these addresses")
            .optional("samples", &test::Delay::samples, "recorded delays on top");
    return object;
  }
};

template <>
struct Describe<test::Kill> {
  static const Object<test::Kill>& object() {
    static const auto object = Object<test::Kill>()
                                   .optional("signal", &test::Kill::signal, "which signal", "KILL")
                                   .optional("count", &test::Kill::count, "how many", "all")
                                   .optional("every", &test::Kill::every, "again and again");
    return object;
  }
};

template <>
struct Describe<test::Throttle> {
  static const Object<test::Throttle>& object() {
    static const auto object =
        Object<test::Throttle>()
            .optional("read_rate", &test::Throttle::read_rate, "bytes read per second")
            .optional("write_rate", &test::Throttle::write_rate, "bytes written per second")
            .optional("read_iops", &test::Throttle::read_iops, "reads per second")
            .optional("write_iops", &test::Throttle::write_iops, "writes per second");
    return object;
  }
};

namespace test {
namespace {

class SmallVocabulary : public FaultVocabulary {
 public:
  std::vector<std::string> names() const override {
    return {"network.delay", "process.kill", "disk.throttle"};
  }
  const ObjectSchema* parameters(std::string_view fault) const override {
    if (fault == "network.delay") return &Describe<Delay>::object();
    if (fault == "process.kill") return &Describe<Kill>::object();
    if (fault == "disk.throttle") return &Describe<Throttle>::object();
    return nullptr;
  }
  std::vector<std::string> aims(std::string_view fault) const override {
    std::vector<std::string> process{"exe",  "command", "listens_on", "pid", "pidfile",
                                     "unit", "cgroup",  "container",  "user"};
    if (fault == "network.delay") process.insert(process.begin(), "interface");
    if (fault == "disk.throttle") process.insert(process.begin(), {"path", "device"});
    return process;
  }
  std::string sentence(std::string_view fault) const override {
    if (fault == "network.delay") return "delays packets";
    return fault == "process.kill" ? "kills processes" : "slows a disk";
  }
  bool lasting(std::string_view fault) const override { return fault != "process.kill"; }
  bool ramps(std::string_view fault) const override { return fault == "network.delay"; }
};

}  // namespace

const FaultVocabulary& small_vocabulary() {
  static const SmallVocabulary vocabulary;
  return vocabulary;
}

}  // namespace test
}  // namespace squall
