// toxiproxy's HTTP API (https://github.com/Shopify/toxiproxy#http-api), so that its clients work unchanged;
// what its documentation calls a defect is not repeated: shares are rolled once a connection and by the seed,
// reset_peer resets connections that exist too, and counters move while bytes do.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "injector/proxy/proxy.hpp"

namespace squall::proxy {

struct ApiRequest {
  std::string method, target, body, user_agent;
};
struct ApiAnswer {
  int status = 200;
  std::string body;
  std::string type = "application/json";
};

class ToxiproxyApi {
 public:
  // `metrics`: whether GET /metrics is there.
  ToxiproxyApi(boost::asio::io_context& io, std::uint64_t seed, bool metrics)
      : seed_(seed), metrics_(metrics), engine_(io) {}

  ApiAnswer answer(const ApiRequest&);
  // What POST /populate does; throws std::runtime_error.
  void populate(const std::string& json);
  std::size_t size() const { return proxies_.size(); }

 private:
  using Proxies = std::map<std::string, std::unique_ptr<Proxy>>;
  ApiAnswer route(const ApiRequest&);
  ApiAnswer collection(const ApiRequest&);
  ApiAnswer one_proxy(const ApiRequest&, const std::string& name);
  ApiAnswer toxics(const ApiRequest&, Proxy&);
  ApiAnswer one_toxic(const ApiRequest&, Proxy&, const std::string& name);
  ApiAnswer populated(const std::string& json);
  ApiAnswer reset();
  std::string metrics_text() const;
  std::unique_ptr<Proxy> make(const std::string& name, const std::string& listen,
                              const std::string& upstream);

  std::uint64_t seed_;
  bool metrics_;
  Engine engine_;
  Proxies proxies_;
};

}  // namespace squall::proxy
