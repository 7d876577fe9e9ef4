// How a server sees the clients of a proxy in front of it as if it were not there: for each address of
// another host the kernel's rules are told once under which priority its connections come.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include <boost/asio/ip/address.hpp>

#include "injector/host/connections/connection_rules.hpp"
#include "injector/host/match/seen_as.hpp"
#include "injector/host/rules/owned_table.hpp"

namespace squall {

// For one thread, in the network namespace of the rules.
class ClientAddresses {
 public:
  ClientAddresses(const ConnectionRules&, const std::shared_ptr<OwnedTable>&);
  // Nothing where it cannot be: the kernel refused, or there are too many.
  std::optional<SeenAs> seen_as(const boost::asio::ip::address&);

 private:
  std::optional<SeenAs> introduce(const boost::asio::ip::address&);

  const std::string table_name_;
  const bool keeps_others_;
  const std::weak_ptr<OwnedTable> table_;
  std::uint32_t next_;
  std::map<boost::asio::ip::address, SeenAs> known_;
};

}  // namespace squall
