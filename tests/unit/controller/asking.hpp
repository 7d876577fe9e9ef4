// Asks one probe and waits for its answer.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "controller/probes/probe.hpp"

namespace squall::test {

template <class Condition>
bool run_until(boost::asio::io_context& loop, Condition reached,
               std::chrono::seconds patience = std::chrono::seconds(20)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!reached() && std::chrono::steady_clock::now() < deadline) {
    loop.restart();
    loop.run_one_for(std::chrono::milliseconds(20));
  }
  return reached();
}

inline ProbeAnswer ask(boost::asio::io_context& loop, Probe& probe) {
  std::optional<ProbeAnswer> got;
  const auto question = probe.ask([&](ProbeAnswer answer) { got = std::move(answer); });
  EXPECT_FALSE(got) << "answered inside the call";
  EXPECT_TRUE(run_until(loop, [&] { return got.has_value(); })) << "no answer";
  return got.value_or(ProbeAnswer{});
}

// "ok", or the error.
inline std::string outcome(const ProbeAnswer& answer) {
  return answer.ok ? "ok" : answer.error;
}

}  // namespace squall::test
