#include <stdexcept>

#include "controller/probes/kinds.hpp"
#include "controller/probes/stream_question.hpp"

namespace squall {
namespace {

class TcpQuestion : public StreamQuestion {
 public:
  TcpQuestion(boost::asio::io_context& loop, Done done) : StreamQuestion(loop, std::move(done)) {}
  void start(const Endpoint& endpoint) {
    connect(endpoint, [this] { succeed(); });
  }
};

class TcpProbe : public Probe {
 public:
  TcpProbe(boost::asio::io_context& loop, Endpoint endpoint) : loop_(loop), endpoint_(std::move(endpoint)) {}

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<TcpQuestion>(loop_, std::move(done));
    question->start(endpoint_);
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  Endpoint endpoint_;
};

}  // namespace

std::unique_ptr<Probe> tcp_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  const auto endpoint = parse_endpoint(spec.object);
  if (!endpoint) throw std::invalid_argument(endpoint.error());
  return std::make_unique<TcpProbe>(loop, *endpoint);
}

}  // namespace squall
