// Toxics to put in a proxy's way, and how long a connection takes through them.
#pragma once

#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include "tests/proxy/proxy_under_test.hpp"

namespace squall::testing {

inline proxy::Toxic toxic(proxy::ToxicType type, proxy::Stream stream = proxy::Stream::downstream) {
  proxy::Toxic out;
  out.type = type;
  out.stream = stream;
  out.name = std::string(name_of(type)) + "_" + std::string(name_of(stream));
  return out;
}
inline proxy::Toxic latency(std::int64_t ms, proxy::Stream stream = proxy::Stream::downstream) {
  auto out = toxic(proxy::ToxicType::latency, stream);
  out.latency_ms = ms;
  return out;
}

inline double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

// The least of a few: a busy machine makes it longer, never shorter.
inline double round_trip_ms(Client& client, int tries = 5) {
  double least = 1e9;
  for (int i = 0; i < tries; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    client.send("ping");
    EXPECT_EQ(client.bytes(4), "ping");
    least = std::min(least, milliseconds_since(begin));
  }
  return least;
}

class Toxics : public ::testing::Test {
 protected:
  Upstream server{echo};
  ProxyUnderTest proxy{server.port()};
};

}  // namespace squall::testing
