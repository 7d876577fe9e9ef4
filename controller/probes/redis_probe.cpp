#include <array>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>

#include "controller/probes/kinds.hpp"
#include "controller/probes/stream_question.hpp"

namespace squall {
namespace {

using Socket = StreamQuestion::Socket;

// The connection that the next question may use; null where each makes its own. One only: spare ones would be
// closed by the server in time, and fail probes that had no reason to fail.
using Kept = std::shared_ptr<std::optional<Socket>>;

class RedisQuestion : public StreamQuestion {
 public:
  RedisQuestion(boost::asio::io_context& loop, Kept kept, Done done)
      : StreamQuestion(loop, std::move(done)), kept_(std::move(kept)) {}

  void start(const Endpoint& endpoint) {
    if (kept_ && *kept_) {
      socket() = std::move(**kept_);
      kept_->reset();
      note_local();
      ping();
      return;
    }
    connect(endpoint, [this] {
      socket().set_option(boost::asio::ip::tcp::no_delay(true));
      ping();
    });
  }

 private:
  // Plain reads and writes only: Asio's composed ones (async_read_until) go on using their buffer after the
  // socket is closed, when this question may be gone.
  void ping() {
    static constexpr std::string_view question =
        "*1\r\n$4\r\nPING\r\n";  // so short that it is never sent in parts
    socket().async_send(boost::asio::buffer(question),
                        while_asked([this](const boost::system::error_code& failed, std::size_t) {
                          if (failed) return fail(short_text(failed));
                          read_line();
                        }));
  }

  void read_line() {
    socket().async_receive(boost::asio::buffer(chunk_),
                           while_asked([this](const boost::system::error_code& failed, std::size_t size) {
                             if (failed) return fail(short_text(failed));
                             received_.append(chunk_.data(), size);
                             const auto end = received_.find("\r\n");
                             if (end == std::string::npos && received_.size() < longest_line)
                               return read_line();
                             judge(received_.substr(0, end));
                           }));
  }

  void judge(const std::string& line) {
    if (line == "+PONG") {
      if (kept_ && !*kept_) kept_->emplace(std::move(socket()));
      return succeed();
    }
    if (line.starts_with('-')) return fail(line.substr(1));
    fail(fmt::format("expected PONG, got {:?}", line.substr(0, 60)));
  }

  static constexpr std::size_t longest_line = 4096;

  Kept kept_;
  std::array<char, 512> chunk_{};
  std::string received_;
};

class RedisProbe : public Probe {
 public:
  RedisProbe(boost::asio::io_context& loop, Endpoint endpoint, bool keeps)
      : loop_(loop), endpoint_(std::move(endpoint)) {
    if (keeps) kept_ = std::make_shared<std::optional<Socket>>();
  }

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<RedisQuestion>(loop_, kept_, std::move(done));
    question->start(endpoint_);
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  Endpoint endpoint_;
  Kept kept_;
};

}  // namespace

std::unique_ptr<Probe> redis_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  const auto endpoint = parse_endpoint(spec.object, 6379);
  if (!endpoint) throw std::invalid_argument(endpoint.error());
  return std::make_unique<RedisProbe>(loop, *endpoint, spec.connection == ProbeSpec::Connection::kept);
}

}  // namespace squall
