// Reads a run record line by line. Only record.cpp needs it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "reports/record/record.hpp"

namespace squall {

std::optional<AlertState> alert_state(std::string_view name);

class RecordReader {
 public:
  explicit RecordReader(std::vector<std::string>& problems) : problems_(problems) {}
  // All readings of clocks first, since a later one may tell better what an earlier time meant.
  void clocks(std::string_view jsonl);
  // `torn`: the line has no end, so it may be half a line and is not worth a problem.
  void line(std::string_view text, bool torn);
  RunRecord finish();

 private:
  using Object = boost::json::object;
  struct Clock {
    std::int64_t t = 0, at = 0;
  };

  void dispatch(std::string_view kind, const Object&);
  void started(const Object&);
  void samples(const Object& of_step);
  void window(const Object&, bool ended);
  void probe(const Object&);
  std::vector<ProbeSample>& series(const std::string& service, const std::string& probe);
  void gap(const Object&);
  void other(const Object&);
  void applied(const Object&);
  void undone(const Object&);
  void happening(const Object&);
  void alert(const Object&);
  void restored(const Object&);
  // The monotonic time of a wall time that this line tells; never after the line, nor earlier than `patience`
  // allows, since the clock of another host may be off.
  std::int64_t brought(std::int64_t wall_ns, std::int64_t patience_ns) const;
  // The same of a host, by what its clock was seen to say.
  Instant by_host(const std::string& host, std::int64_t wall_ns) const;
  // When an alert's state began: its stamps are Prometheus', whoever passes them on.
  Instant by_source(const AlertEvent&) const;
  FaultRecord& fault(const Object&);

  std::vector<std::string>& problems_;
  RunRecord out_;
  Clock now_;
  int number_ = 0;
  std::map<std::pair<std::string, std::string>, std::size_t> series_;
};

}  // namespace squall
