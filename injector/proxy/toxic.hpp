// A fault of a proxied connection, as users declare it: toxiproxy's word and its wire format
// (https://github.com/Shopify/toxiproxy#toxics), which the library's own faults use too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace squall::proxy {

// Upstream: from the client to the server; downstream: from the server to the client.
enum class Stream { upstream, downstream };

enum class ToxicType { latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data };

// 0 where an attribute is missing. Times are in the unit the wire format has.
struct Toxic {
  std::string name;
  ToxicType type = ToxicType::latency;
  Stream stream = Stream::downstream;
  double toxicity = 1;  // the share of connections that it hits, rolled once a connection and never again

  std::int64_t latency_ms = 0, jitter_ms = 0;         // latency
  std::int64_t rate_kb = 0;                           // bandwidth: 1000 bytes a second; 0: nothing passes
  std::int64_t delay_ms = 0;                          // slow_close
  std::int64_t timeout_ms = 0;                        // timeout (0: never closes), reset_peer
  std::int64_t average_size = 0, size_variation = 0;  // slicer: bytes
  std::int64_t delay_us = 0;                          // slicer: between slices
  std::int64_t bytes = 0;                             // limit_data
};

std::string_view name_of(ToxicType);
std::string_view name_of(Stream);

// toxiproxy's JSON, without attributes that the type does not have.
boost::json::object to_json(const Toxic&);
// Reads `attributes`; what is missing stays as it is, what is beyond all measure becomes the most that can
// be. False where the type does not exist, or a value is no number.
bool read_type(std::string_view, ToxicType&);
bool read_stream(std::string_view, Stream&);  // in any case of letters
bool read_attributes(const boost::json::object&, Toxic&);
// The names of a type's attributes.
std::vector<std::string_view> attributes_of(ToxicType);

}  // namespace squall::proxy
