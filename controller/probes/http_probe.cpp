#include <stdexcept>

// Not std::regex: libstdc++'s recurses once a character and overflows the stack on bodies of some 100 kB.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/regex.hpp>

#include "controller/probes/kinds.hpp"

namespace squall {
namespace {

ProbePhases phases_of(const http::Answer& answer) {
  return {.dns_ns = answer.name_lookup.count(),
          .connect_ns = answer.connect.count(),
          .tls_ns = answer.tls.count(),
          .first_byte_ns = answer.first_byte.count()};
}

class HttpQuestion : public Question {
 public:
  using Judge = std::function<std::string(const http::Answer&)>;  // "" where all is well
  HttpQuestion(http::Client& client, Done done) : Question(std::move(done)), client_(client) {}
  ~HttpQuestion() override { client_.give_up(number_); }
  std::string local() const override { return local_.empty() ? client_.local(number_) : local_; }

  void start(http::Request request, Judge judge) {
    number_ = client_.get(std::move(request),
                          while_asked([this, judge = std::move(judge)](const http::Answer& got) {
                            local_ = got.local;
                            if (got.not_asked) return could_not_ask(got.error);
                            std::string error = judge(got);
                            answer({.ok = error.empty(),
                                    .error = std::move(error),
                                    .code = got.status,
                                    .phases = phases_of(got),
                                    .opened = got.opened});
                          }));
  }

 private:
  http::Client& client_;
  std::uint64_t number_ = 0;
  std::string local_;
};

class HttpProbe : public Probe {
 public:
  HttpProbe(http::Client& client, const ProbeSpec& spec) : client_(client), accepted_(spec.status) {
    request_.url = spec.object;
    request_.method = spec.method;
    request_.verify_tls = spec.verify_tls;
    request_.fresh_connection = spec.connection == ProbeSpec::Connection::fresh;
    request_.timeout = std::chrono::hours(24);  // the prober's is the one that counts
    request_.headers = spec.access.header_lines();
    request_.certificate = spec.access.certificate;
    request_.key = spec.access.key;
    request_.ca = spec.access.ca;
    request_.body = spec.send;
    if (!spec.body.empty()) body_.emplace(spec.body);
  }

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<HttpQuestion>(client_, std::move(done));
    question->start(request_, [this](const http::Answer& answer) { return judge(answer); });
    return question;
  }

 private:
  std::string judge(const http::Answer& answer) const {
    if (!answer.ok) return answer.error;
    const int status = answer.status;
    if (accepted_.empty() && (status < 200 || status > 399))
      return fmt::format("status {} (expected 200 to 399)", status);
    if (!accepted_.empty() && std::find(accepted_.begin(), accepted_.end(), status) == accepted_.end())
      return fmt::format("status {} (expected {})", status, fmt::join(accepted_, ", "));
    return body_ ? judge_body(answer.body) : "";
  }

  std::string judge_body(const std::string& body) const {
    try {
      return boost::regex_search(body, *body_) ? "" : fmt::format("body does not match \"{}\"", body_->str());
    } catch (const std::runtime_error&) {
      return fmt::format("body: matching \"{}\" takes too long", body_->str());
    }
  }

  http::Client& client_;
  http::Request request_;
  std::vector<int> accepted_;
  std::optional<boost::regex> body_;
};

}  // namespace

std::unique_ptr<Probe> http_probe(http::Client& client, const ProbeSpec& spec) {
  try {
    return std::make_unique<HttpProbe>(client, spec);
  } catch (const boost::regex_error& error) {
    throw std::invalid_argument(fmt::format("body: expected a regular expression, got \"{}\"", spec.body));
  }
}

}  // namespace squall
