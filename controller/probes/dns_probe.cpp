#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/post.hpp>

#include "controller/http/own_trouble.hpp"
#include "controller/probes/dns_message.hpp"
#include "controller/probes/endpoint.hpp"
#include "controller/probes/kinds.hpp"
#include "controller/probes/own_end.hpp"
#include "controller/probes/stream_question.hpp"

namespace squall {
namespace {

using Udp = boost::asio::ip::udp;

// The first name server of resolv.conf(5); this host itself where there is none, as the resolver does.
Endpoint first_nameserver() {
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, address;
    if (words >> key >> address && key == "nameserver") return {address, 53};
  }
  return {"127.0.0.1", 53};
}

class DnsQuestion : public Question {
 public:
  DnsQuestion(boost::asio::io_context& loop, dns::Message question, std::string type, Done done)
      : Question(std::move(done)),
        loop_(loop),
        socket_(loop),
        question_(std::move(question)),
        type_(std::move(type)) {}

  std::string local() const override {
    auto& socket = const_cast<Udp::socket&>(socket_);
    return socket.is_open() ? own_end(socket.native_handle(), true) : "";
  }

  void start(const Endpoint& server) {
    lookup_ = look_up(loop_, server.host, while_asked([this, port = server.port](const Addresses& found) {
                        if (!found) return fail(found.error());
                        send({found->front(), port});
                      }));
  }

  void send(const Udp::endpoint& server) {
    boost::system::error_code failed;
    socket_.open(server.protocol(), failed);
    // Connected, so that the kernel reports an unreachable port and drops what others send (udp(7)).
    if (!failed) socket_.connect(server, failed);
    if (failed) return fail_later(failed);
    socket_.async_send(boost::asio::buffer(question_),
                       while_asked([this](const boost::system::error_code& unsent, std::size_t) {
                         if (unsent && is_own_trouble(unsent.value()))
                           return could_not_ask(short_text(unsent));
                         if (unsent) return fail(short_text(unsent));
                         receive();
                       }));
  }

 private:
  void fail_later(const boost::system::error_code& failed) {
    boost::asio::post(loop_, while_asked([this, failed] {
                        if (is_own_trouble(failed.value())) return could_not_ask(short_text(failed));
                        fail(short_text(failed));
                      }));
  }

  void receive() {
    reply_.resize(4096);
    socket_.async_receive(boost::asio::buffer(reply_),
                          while_asked([this](const boost::system::error_code& failed, std::size_t size) {
                            if (failed) return fail(short_text(failed));
                            reply_.resize(size);
                            judge();
                          }));
  }

  void judge() {
    const auto reply = dns::read_reply(reply_, question_);
    if (!reply)
      return receive();  // a late answer to an earlier question, or garbage: the real one may still come
    if (reply->code != 0) return fail(dns::code_name(reply->code));
    if (reply->records == 0 && !reply->truncated) return fail(fmt::format("no {} record", type_));
    succeed();
  }

  boost::asio::io_context& loop_;
  Udp::socket socket_;
  std::unique_ptr<Background> lookup_;
  dns::Message question_, reply_;
  std::string type_;
};

class DnsProbe : public Probe {
 public:
  DnsProbe(boost::asio::io_context& loop, const ProbeSpec& spec)
      : loop_(loop), name_(spec.object), type_(spec.type.empty() ? "A" : spec.type) {
    const auto number = dns::record_type(type_);
    if (!number)
      throw std::invalid_argument(fmt::format("expected a record type such as A or AAAA, got \"{}\"", type_));
    number_ = *number;
    if (const auto question = dns::make_question(0, name_, number_); !question)
      throw std::invalid_argument(question.error());
    if (spec.server.empty()) return;
    const auto server = parse_endpoint(spec.server, 53);
    if (!server) throw std::invalid_argument(server.error());
    server_ = *server;
  }

  std::shared_ptr<Question> ask(Question::Done done) override {
    const Endpoint server = server_ ? *server_ : first_nameserver();
    auto message = dns::make_question(static_cast<std::uint16_t>(random_()), name_, number_);
    auto question = std::make_shared<DnsQuestion>(loop_, std::move(*message), type_, std::move(done));
    boost::system::error_code not_an_address;
    const auto address = boost::asio::ip::make_address(server.host, not_an_address);
    if (not_an_address)
      question->start(server);
    else
      question->send({address, server.port});
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  std::string name_, type_;
  std::uint16_t number_ = 0;
  std::optional<Endpoint> server_;
  std::random_device random_;  // a guessable id would let others answer
};

}  // namespace

std::unique_ptr<Probe> dns_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  return std::make_unique<DnsProbe>(loop, spec);
}

}  // namespace squall
