// A TCP proxy with toxics: between clients and one upstream, or, where the kernel leads connections to it,
// between each client and whomever it wanted to reach. One thread: everything here is called from the
// io_context's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "injector/host/match/seen_as.hpp"
#include "injector/proxy/http_session.hpp"
#include "injector/proxy/link.hpp"
#include "injector/proxy/toxic.hpp"
#include "injector/system/process.hpp"

namespace squall {
class EndpointSet;
}

namespace squall::proxy {

class Connection;

struct ProxyPlan {
  std::string name;
  std::string listen;    // host:port, port 0 for any free one; ":port" and "[::]:port" for every address
  std::string upstream;  // host:port, looked up for each connection; empty: where the client wanted to go
                         // (SO_ORIGINAL_DST)
  std::uint64_t seed = 1;
  std::uint32_t mark =
      0;  // of the sockets towards the upstream (SO_MARK), so that the kernel does not lead them here again
  std::shared_ptr<EndpointSet> clients,
      ends;  // where the ends of those who come, and its own towards servers, are noted, if anywhere
  // How the server is to see a client as if there were no proxy; nothing: it cannot, and the client is not
  // served. None: servers see the proxy.
  std::function<std::optional<SeenAs>(const boost::asio::ip::address& client)> client_as;
  bool http = false;  // its connections speak HTTP/1, by which a rule can change them
};

struct ProxyStatistics {
  std::uint64_t connections = 0;  // accepted
  std::uint64_t open = 0;
  std::uint64_t hit = 0;          // of those accepted or open when a toxic came: that at least one toxic hits
  std::uint64_t unreachable = 0;  // the upstream did not answer
  std::uint64_t closed = 0, reset = 0;  // by toxics
  std::uint64_t unnoticed =
      0;  // of those: nothing was ever sent over them, and the client had ended its side
  LinkCounters up, down;
  HttpCounters http;
};

class Proxy {
 public:
  Proxy(Engine&, ProxyPlan);
  ~Proxy();
  Proxy(const Proxy&) = delete;

  // Listens; throws std::exception where the address is taken (boost::system::system_error) or wrong.
  void enable();
  // Closes the listener and every connection.
  void disable();
  bool enabled() const { return static_cast<bool>(listener_); }
  // Accepts those whom the kernel has connected already.
  void accept_waiting();
  // Ends every connection. One that was carrying something is reset: nobody is to take half an answer for all
  // of it.
  void break_off();

  const ProxyPlan& plan() const { return plan_; }
  // Where it listens, with the real port once it was enabled.
  const std::string& listen() const { return listen_; }
  std::uint16_t port() const { return port_; }
  // Other addresses, which closes every connection; not while it is enabled.
  void change(std::string listen, std::string upstream);

  const std::vector<Toxic>& toxics() const { return toxics_; }
  // In force at once, on connections that exist too. What was there under the same name keeps what it holds.
  void set_toxics(std::vector<Toxic>);
  // Of the requests from now on; none lets all pass, what waits too. Only where the plan says http.
  void set_http(std::shared_ptr<const HttpRule>);
  ProxyStatistics statistics() const;

 private:
  friend class Connection;
  struct Listener;
  void accept();
  void accept_all();
  // False where the next one is accepted later: Connection::dial.
  bool take(Fd client);
  // Whether it goes on when others have been accepted: Connection::await_server.
  bool gather(Connection&);
  void accept_no_more();
  void accept_later();
  // A connection that looked its upstream up has done so.
  void accept_next();
  // The descriptors that are held for this moment; nobody is accepted before there are as many again.
  void give_reserve_back();
  std::vector<Toxic> hitting(std::uint64_t connection, Stream) const;
  void end_connections();

  Engine& engine_;
  ProxyPlan plan_;
  std::string listen_;
  std::uint16_t port_ = 0;
  std::vector<Toxic> toxics_;
  ProxyStatistics statistics_;
  std::shared_ptr<HttpControl> http_;
  std::shared_ptr<Listener> listener_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> called_;
  bool gathering_ = false;
};

}  // namespace squall::proxy
