// A question over TCP to a host by name: looked up, then each of its addresses tried in turn.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "controller/probes/endpoint.hpp"
#include "controller/probes/probe.hpp"

namespace squall {

// Errors as a person reads them: lower case, without their category.
std::string short_text(const boost::system::error_code&);

class StreamQuestion : public Question {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  std::string local() const override;

 protected:
  StreamQuestion(boost::asio::io_context& loop, Done done)
      : Question(std::move(done)), loop_(loop), socket_(loop) {}

  // Fails the question where no address can be connected to, with what the last one said.
  void connect(const Endpoint&, std::function<void()> connected);
  Socket& socket() { return socket_; }
  // After the socket was replaced by one that is connected.
  void note_local();

 private:
  void try_next(const std::string& error);

  boost::asio::io_context& loop_;
  Socket socket_;
  std::string local_;  // once it is connected, whoever has the socket by now
  std::unique_ptr<Background> lookup_;
  std::vector<Socket::endpoint_type> left_;  // the next one last
  std::function<void()> connected_;
  bool first_ = true, own_trouble_ = false;  // whether nothing could be sent to any of the addresses yet
};

}  // namespace squall
