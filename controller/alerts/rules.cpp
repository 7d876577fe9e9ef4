#include "controller/alerts/rules.hpp"

#include <chrono>

#include <fmt/format.h>

namespace squall {

KnownRules ask_for_rules(const std::vector<AlertSourceSpec>& sources) {
  KnownRules out;
  std::vector<AlertSourceSpec> asked;
  for (auto& source : sources)
    if (source.kind != AlertSourceSpec::Kind::webhook) asked.push_back(source);
  if (asked.empty()) return out;
  boost::asio::io_context io;
  AlertWatch watch{io,
                   asked,
                   {[](const AlertEvent&) {},
                    [&](const AlertSourceHealth& health) {
                      if (!health.ok)
                        out.problems.push_back(fmt::format("the alert source {} {} could not be asked: {}",
                                                           health.source, health.address, health.error));
                    },
                    [&](const AlertRule& rule) { out.rules.push_back(rule); }}};
  bool ready = false;
  watch.run([&] {
    ready = true;
    io.stop();
  });
  io.run_for(std::chrono::seconds{10});
  if (!ready && out.problems.empty())
    out.problems.emplace_back("the alert sources did not answer within 10 s");
  return out;
}

}  // namespace squall
