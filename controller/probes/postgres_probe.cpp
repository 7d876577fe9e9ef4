#include <stdexcept>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "controller/http/own_trouble.hpp"
#include "controller/probes/kinds.hpp"
#include "controller/probes/own_end.hpp"
#include "controller/probes/postgres_connection.hpp"

namespace squall {
namespace {

using postgres::Connection;
using postgres::Parameters;
using Descriptor = boost::asio::posix::stream_descriptor;

// The connection that the next question may use; null where each makes its own. One only, as redis_probe's.
using Kept = std::shared_ptr<Connection>;

class PostgresQuestion : public Question {
 public:
  PostgresQuestion(boost::asio::io_context& loop, Kept kept, const std::string& query, Done done)
      : Question(std::move(done)), loop_(loop), kept_(std::move(kept)), query_(query), watched_(loop) {}
  ~PostgresQuestion() override { unwatch(); }
  std::string local() const override {
    return local_.empty() && connection_ ? own_end(PQsocket(connection_.get())) : local_;
  }

  void start(const Parameters& parameters) {
    if (kept_ && *kept_) {
      connection_ = std::move(*kept_);
      boost::asio::post(loop_, while_asked([this] { send_query(); }));
    } else if (postgres::needs_lookup(parameters)) {
      look_up_and_connect(parameters);
    } else {
      boost::asio::post(loop_, while_asked([this, parameters] { connect(parameters); }));
    }
  }

 private:
  void look_up_and_connect(const Parameters& parameters) {
    auto found = while_asked([this](const tl::expected<Parameters, std::string>& resolved) {
      if (!resolved) return fail(resolved.error());
      connect(*resolved);
    });
    lookup_ = std::make_unique<Background>(loop_, [parameters, found]() -> Background::Deliver {
      auto resolved =
          postgres::with_addresses(parameters, [](const std::string& host) { return look_up(host); });
      return [found, resolved]() mutable { found(resolved); };
    });
  }

  void connect(const Parameters& parameters) {
    connection_ = postgres::start(parameters);
    if (!connection_) return fail("out of memory");
    if (PQstatus(connection_.get()) == CONNECTION_BAD) return fail_with_last_error();
    wait(Descriptor::wait_write, &PostgresQuestion::continue_connecting);
  }

  void continue_connecting() {
    unwatch();  // libpq may go on with another socket
    switch (PQconnectPoll(connection_.get())) {
      case PGRES_POLLING_READING:
        return wait(Descriptor::wait_read, &PostgresQuestion::continue_connecting);
      case PGRES_POLLING_WRITING:
        return wait(Descriptor::wait_write, &PostgresQuestion::continue_connecting);
      case PGRES_POLLING_OK:
        note_opened();
        PQsetnonblocking(connection_.get(), 1);
        return send_query();
      default:
        return fail_with_last_error();
    }
  }

  void send_query() {
    local_ = own_end(PQsocket(connection_.get()));
    if (!PQsendQuery(connection_.get(), query_.c_str())) return fail_with_last_error();
    flush();
  }

  void flush() {
    switch (PQflush(connection_.get())) {
      case 0:
        return wait(Descriptor::wait_read, &PostgresQuestion::read_results);
      case 1:
        return wait(Descriptor::wait_write, &PostgresQuestion::flush);
      default:
        return fail_with_last_error();
    }
  }

  void read_results() {
    if (!PQconsumeInput(connection_.get())) return fail_with_last_error();
    while (!PQisBusy(connection_.get())) {
      const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQgetResult(connection_.get()), &PQclear);
      if (!result) return finish();
      note(result.get());
      if (copies_) return fail("the query copies data: expected one that returns rows");
    }
    wait(Descriptor::wait_read, &PostgresQuestion::read_results);
  }

  void note(const PGresult* result) {
    switch (PQresultStatus(result)) {
      case PGRES_EMPTY_QUERY:
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
        return;
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
        copies_ = true;
        return;
      default:
        break;
    }
    const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (error_.empty()) error_ = postgres::short_error(primary ? primary : PQresultErrorMessage(result));
  }

  void finish() {
    unwatch();
    const bool sound = PQstatus(connection_.get()) == CONNECTION_OK &&
                       PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
    if (sound && kept_ && !*kept_) *kept_ = std::move(connection_);
    if (error_.empty())
      succeed();
    else
      fail(error_);
  }

  void fail_with_last_error() {
    const auto error = postgres::short_error(PQerrorMessage(connection_.get()));
    // libpq keeps its errno to itself.
    if (is_own_text(error)) return could_not_ask(error);
    fail(error);
  }

  void wait(Descriptor::wait_type what, void (PostgresQuestion::*then)()) {
    if (!watched_.is_open()) {
      boost::system::error_code failed;
      watched_.assign(PQsocket(connection_.get()), failed);
      if (failed) return could_not_ask("watch the connection: " + failed.message());
    }
    watched_.async_wait(what, while_asked([this, then](const boost::system::error_code& failed) {
                          if (!failed) (this->*then)();
                        }));
  }

  // The socket is libpq's to close.
  void unwatch() {
    if (watched_.is_open()) watched_.release();
  }

  boost::asio::io_context& loop_;
  Kept kept_;
  const std::string& query_;
  std::string local_;
  Connection connection_;
  Descriptor watched_;
  std::unique_ptr<Background> lookup_;
  std::string error_;
  bool copies_ = false;
};

class PostgresProbe : public Probe {
 public:
  PostgresProbe(boost::asio::io_context& loop, Parameters parameters, std::string query, bool keeps)
      : loop_(loop), parameters_(std::move(parameters)), query_(std::move(query)) {
    if (keeps) kept_ = std::make_shared<Connection>();
  }

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<PostgresQuestion>(loop_, kept_, query_, std::move(done));
    question->start(parameters_);
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  Parameters parameters_;
  std::string query_;
  Kept kept_;
};

}  // namespace

std::unique_ptr<Probe> postgres_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  auto parameters = postgres::parse_parameters(spec.object);
  if (!parameters) throw std::invalid_argument(parameters.error());
  return std::make_unique<PostgresProbe>(loop, std::move(*parameters),
                                         spec.query.empty() ? "select 1" : spec.query,
                                         spec.connection == ProbeSpec::Connection::kept);
}

}  // namespace squall
