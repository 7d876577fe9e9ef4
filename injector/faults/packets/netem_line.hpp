// One direction of a fault by netem: a device of our own with netem at its root, another that gets a copy of
// what comes to the first, and what was seen between the two.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "injector/faults/dose/packet_dose.hpp"
#include "injector/host/packets/packet_times.hpp"
#include "injector/host/tc/netem.hpp"

namespace squall::faults {

class NetemLine {
 public:
  // Devices are named "{prefix}d…" and "{prefix}c…". Throws std::runtime_error.
  NetemLine(const Impairment&, const traffic_control::Place&, std::string prefix, std::string alias, Way);

  std::string holding() const { return prefix_ + (way_ == Way::out ? "do" : "di"); }
  std::string copying() const { return prefix_ + (way_ == Way::out ? "co" : "ci"); }
  std::uint32_t limit() const;
  void apply(Transaction&, const std::shared_ptr<double>& level);
  // Once it is in force.
  void set_level(double level);
  void note_ends(std::shared_ptr<EndpointSet> ends) { times_->note_ends(std::move(ends)); }
  // Looks at what passed since the last time.
  void read();
  PacketsSeen::OneWay seen() const;
  // Why corrupted packets cannot be counted; "" where they can.
  std::string corruption_unseen() const;
  // What is wrong with the devices of this direction; `loses`: packets that are led to them are lost.
  struct Trouble {
    std::string what;
    bool loses = false;
  };
  Trouble look(double level) const;
  std::uint32_t holding_index() const { return holding_; }
  std::uint64_t dropped() const { return now_.netem.dropped; }

 private:
  // What the kernel counted so far.
  struct Counters {
    traffic_control::Netem netem;
    traffic_control::Tbf rate;
    std::uint64_t came = 0, passed = 0;  // large segments uncut
    std::uint64_t altered = 0, at_once = 0;
    std::int64_t at = 0;
  };
  void in_place(const std::function<void()>& act) const;
  void in_place_if_there(const std::function<void()>& act) const;
  void read_times();
  void read_rate(std::uint32_t device);
  PacketCounts counts_since(const Counters& from) const;
  Trouble look_at_devices(double level) const;

  Impairment what_;
  traffic_control::Place place_;
  std::string prefix_, alias_;
  Way way_;
  std::uint32_t holding_ = 0, copying_ = 0;  // the devices' indices, once they are made
  std::unique_ptr<PacketTimes> times_;
  std::int64_t full_since_ = INT64_MAX;
  HoldTimes held_;
  Counters now_;
  std::optional<Counters> full_from_;  // what there was when the dose became full
  std::uint64_t busy_bytes_ = 0;
  std::int64_t busy_ns_ = 0;
};

}  // namespace squall::faults
