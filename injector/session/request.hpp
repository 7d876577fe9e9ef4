// Reading requests of the protocol: what is asked for, or a refusal that says why not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "injector/faults/fault.hpp"
#include "injector/session/policy.hpp"

namespace squall {

// A request that is answered with "ok": false. `kind` is input, refused, conflict or failed.
struct Refused {
  std::string kind, text;
};

std::string text_of(const boost::json::object&, std::string_view key, const std::string& otherwise = "");
// A whole number, not negative.
std::int64_t number_of(const boost::json::object&, std::string_view key, std::int64_t otherwise);
// 64 bits as a number, or as a text in decimal; 1 where there is none.
std::uint64_t seed_of(const boost::json::object&);
// "on", checked against what there is to aim with.
TargetSpec target_of(const boost::json::object&);

// What a request for a fault comes to when the catalogue and the host's policy agree to it.
struct PreparedFault {
  const FaultType* type = nullptr;
  TargetSpec target;
  std::unique_ptr<Fault> fault;
};
// Refuses what the host's policy forbids by now: the fault, how long it is to last, and all that it touches.
void ask_policy(const Policy&, const PreparedFault&, std::int64_t for_ns);
PreparedFault prepare_fault(const boost::json::object& request, const Policy&, const std::string& session,
                            boost::asio::io_context*);

boost::json::array json_texts(const std::vector<std::string>&);

}  // namespace squall
