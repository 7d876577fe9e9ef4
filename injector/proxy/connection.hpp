// One client's connection and ours to the upstream.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "injector/proxy/address.hpp"
#include "injector/proxy/http_session.hpp"
#include "injector/proxy/link.hpp"
#include "injector/proxy/proxy.hpp"

namespace squall::proxy {

class Connection : public LinkOwner, public SocketOwner, public std::enable_shared_from_this<Connection> {
 public:
  using tcp = boost::asio::ip::tcp;
  Connection(Proxy& proxy, Fd client, std::uint64_t number);

  // False where the upstream's name is looked up first: no other client is to be accepted meanwhile, whose
  // descriptor might be the one that this takes. One name after the other is looked up anyway.
  bool dial();
  // What follows when its server was called.
  void await_server();
  void toxics_changed();
  void rule_changed();
  // The proxy is gone: it is told nothing any more.
  void close(bool reset);
  // Bytes are on their way, or were a moment ago.
  bool is_carrying();

  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }
  void over(Link&) override;
  void end(bool reset) override;
  void farewell() override;
  void broken(Socket& gone) override;
  void ready(Socket&) override;

 private:
  void discard_what_comes();
  void look_up(const Address&);
  // To the first of them that answers.
  void connect(std::vector<tcp::endpoint> to);
  void connect_to_next();
  // False, and errno says why, where it cannot be.
  bool call(const tcp::endpoint& to, bool by_rare_port);
  Fd open_server(const tcp&);
  // The server's side gets the client's address; false, and errno says why, where it cannot.
  bool be_seen_as_the_client(bool by_rare_port);
  bool take_rare_port(bool v6);
  void note_own_end();
  void connected(boost::system::error_code);
  void leave();

  Proxy* proxy_;
  Engine& engine_;
  std::uint64_t number_;
  bool hit_ = false;
  bool early_ = false;  // the client sent before its server was connected
  enum class State { connecting, carrying, farewell } state_ = State::connecting;
  Socket client_, server_;
  std::optional<tcp::resolver> resolver_;
  std::vector<tcp::endpoint> to_;
  std::size_t tried_ = 0;                              // of them
  std::optional<boost::asio::steady_timer> patience_;  // with a client that was said farewell
  std::unique_ptr<HttpSession> http_;                  // outlives its stages in the links
  Link up_, down_;
};

}  // namespace squall::proxy
