// libpq as the probes use it: connection strings made ready for a client that must not block, and its errors
// in short.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <libpq-fe.h>
#include <tl/expected.hpp>

#include "controller/probes/endpoint.hpp"

namespace squall::postgres {

struct Close {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, Close>;

using Parameters = std::vector<std::pair<std::string, std::string>>;

// "host=db1 dbname=shop", "postgresql://db1/shop"; the error is libpq's.
tl::expected<Parameters, std::string> parse_parameters(const std::string& connection_string);

// True where a host would have to be looked up: PQconnectPoll(3) would do that and block.
bool needs_lookup(const Parameters&);

// The same with every host replaced by its addresses (host=db,db hostaddr=10.0.0.1,10.0.0.2). `find` may
// block.
tl::expected<Parameters, std::string> with_addresses(
    const Parameters&, const std::function<Addresses(const std::string& host)>& find);

// Begins to connect; null where there is no memory.
Connection start(const Parameters&);

// libpq's texts of several lines in a few words: "connection refused", "relation \"x\" does not exist".
std::string short_error(const char* message);

}  // namespace squall::postgres
