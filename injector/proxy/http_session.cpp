#include "injector/proxy/http_session.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include "injector/proxy/roll.hpp"

namespace squall::proxy {
namespace {

namespace http = boost::beast::http;
using View = boost::beast::string_view;
using boost::system::error_code;
using Act = HttpRule::Act;
using Side = HttpRule::Side;

constexpr std::uint32_t longest_header = 256 << 10;

// Finds where a message's header and body end; the bytes themselves stay with the caller.
template <bool is_request>
class Reader : public http::basic_parser<is_request> {
 public:
  Reader() {
    this->header_limit(longest_header);
    this->body_limit(boost::none);
  }
  std::string method, target;
  int status = 0, version = 11;
  std::vector<HttpField> fields;
  // Whether the body is `wanted`, as far as it came.
  std::string_view wanted;
  std::uint64_t body_bytes = 0;
  bool body_differs = false;

 private:
  void on_request_impl(http::verb, View name, View where, int number, error_code&) override {
    method.assign(name.data(), name.size());
    target.assign(where.data(), where.size());
    version = number;
  }
  void on_response_impl(int code, View, int, error_code&) override { status = code; }
  void on_field_impl(http::field, View name, View value, error_code&) override {
    fields.push_back({{name.data(), name.size()}, {value.data(), value.size()}});
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(View part, error_code&) override { return compare(part); }
  void on_chunk_header_impl(std::uint64_t, View, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, View part, error_code&) override { return compare(part); }
  void on_finish_impl(error_code&) override {}
  std::size_t compare(View part) {
    const auto here = wanted.substr(std::min<std::size_t>(body_bytes, wanted.size()), part.size());
    body_differs = body_differs || here != std::string_view(part.data(), part.size());
    body_bytes += part.size();
    return part.size();
  }
};

bool is_framing(std::string_view name) {
  return same_name(name, "Content-Length") || same_name(name, "Transfer-Encoding") ||
         same_name(name, "Trailer");
}

bool describes_the_body(std::string_view name) {
  constexpr std::array<std::string_view, 6> names{"Content-Encoding", "ETag",           "Content-MD5",
                                                  "Digest",           "Content-Digest", "Repr-Digest"};
  return std::any_of(names.begin(), names.end(), [&](auto one) { return same_name(name, one); });
}

void put(std::vector<HttpField>& fields, const HttpField& field) {
  const auto of_that_name = [&](auto& one) { return same_name(one.name, field.name); };
  // Where it is there as it is to be, its place among the others is kept as well.
  if (std::count_if(fields.begin(), fields.end(), of_that_name) == 1 &&
      std::find_if(fields.begin(), fields.end(), of_that_name)->value == field.value)
    return;
  std::erase_if(fields, [&](auto& one) { return same_name(one.name, field.name); });
  fields.push_back(field);
}

std::string header_text(std::string_view original, const std::vector<HttpField>& fields) {
  std::string out{original.substr(0, original.find("\r\n"))};
  out += "\r\n";
  for (auto& field : fields)
    out += fmt::format("{}: {}\r\n", field.name, field.value);
  return out + "\r\n";
}

std::vector<HttpField> changed(std::vector<HttpField> fields, const HttpRule& rule) {
  for (auto& name : rule.remove)
    std::erase_if(fields, [&](auto& one) { return same_name(one.name, name); });
  for (auto& field : rule.set)
    put(fields, field);
  return fields;
}

std::string with_body(std::string_view original, std::vector<HttpField> fields, const HttpRule& rule) {
  // What is said of the body that was there: its length, coding and digests (RFC 9110, 8.8; RFC 9530).
  std::erase_if(fields, [](auto& one) { return is_framing(one.name) || describes_the_body(one.name); });
  if (!rule.content_type.empty()) put(fields, {"Content-Type", rule.content_type});
  put(fields, {"Content-Length", fmt::to_string(rule.body.size())});
  return header_text(original, fields) + rule.body;
}

// Answers to HEAD, and these, have none whatever their header says (RFC 9112, 6.3).
bool has_body(int status, bool head) {
  return !head && status >= 200 && status != 204 && status != 304;
}

std::string own_answer(const HttpRule& rule, bool head, std::string_view connection) {
  const auto status = http::int_to_status(rule.status);
  const auto reason = status == http::status::unknown ? View("Fault") : http::obsolete_reason(status);
  auto out = fmt::format("HTTP/1.1 {} {}\r\n", rule.status, std::string_view(reason.data(), reason.size()));
  if (rule.status != 204 && rule.status != 304)
    out += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", rule.content_type, rule.body.size());
  if (!connection.empty()) out += fmt::format("Connection: {}\r\n", connection);
  out += "X-Squall: http.abort\r\n\r\n";
  return has_body(static_cast<int>(rule.status), head) ? out + rule.body : out;
}

}  // namespace

struct HttpSession::Exchange {
  std::shared_ptr<const HttpRule> rule;  // that hits it on the response's side
  bool head = false, connect = false;
  bool answered_here = false;  // no server will
  bool begun = false;          // its final answer is on its way
  bool last = false;           // the client expects the connection to end with it
  bool kept = false;           // or to be told that it does not, as in HTTP/1.0

  std::string_view connection() const { return last ? "close" : kept ? "keep-alive" : ""; }
};

struct HttpSession::State {
  HttpControl& control;
  std::uint64_t connection, requests = 0;
  std::deque<Exchange> waiting{};  // for an answer
  bool unread = false;             // no HTTP/1 any more

  // The rule where it hits the request.
  std::shared_ptr<const HttpRule> rolled(const Reader<true>& request) {
    auto& counters = control.counters;
    ++counters.requests;
    counters.read_on += requests++ == 0;
    auto rule = control.rule;
    if (!rule) return nullptr;
    if (const auto differs = unlike(*rule, request.method, request.target, request.fields);
        !differs.empty()) {
      // Once some matched, nobody wonders.
      if (!counters.matched) control.went_by.add(differs);
      return nullptr;
    }
    ++counters.matched;
    if (roll(control.seed, connection, fmt::to_string(requests)) >= rule->share) return nullptr;
    ++counters.rolled;
    return rule;
  }
};

namespace {

// The messages of one direction, one after the other.
template <bool is_request>
class Messages : public Stage {
 public:
  Messages(bool& unread, const std::uint64_t& requests, HttpCounters& counters, std::uint64_t seed)
      : Stage({}, seed), unread_(unread), requests_(requests), counters_(counters) {}
  ~Messages() override { count_replaced(false); }

  void take(Piece piece, Clock::time_point now) final {
    now_ = now;
    if (piece.kind != Piece::Kind::data) {
      if (piece.kind == Piece::Kind::end) ended();
      return wait(std::move(piece), now);
    }
    auto in = std::move(piece.bytes);
    if (!kept_.empty()) {
      kept_.append(in.data(), in.size());
      in = {kept_.data(), kept_.size()};
      kept_.clear();
    }
    while (!in.empty() && !closed_) {
      if (unread_) return pass_unread(in);
      if (is_request && !reader_) {
        blank_lines(in);
        if (in.empty()) return;
      }
      if (!reader_ && !start_message()) {
        give_up();
        continue;
      }
      if (!step(in)) break;
    }
    if (!in.empty() && !closed_) kept_.assign(in.data(), in.size());
  }

  void rule_changed(const HttpRule* rule, Clock::time_point now) {
    if (!rule) left_.reset();
    auto latest = now;
    if (rule && rule->act == Act::delay && rule->side == (is_request ? Side::request : Side::response))
      latest += rule->delay + rule->jitter;
    last_ = std::min(last_, latest);
    for (auto& piece : waiting_) {
      if (piece.leaves <= latest) continue;
      piece.leaves = latest;
      piece.measured = false;  // it was not held as long as anybody asked
    }
  }

 protected:
  virtual bool start_message() = 0;  // false where none can be
  virtual void header() = 0;         // it is complete, in `header_`
  virtual void over() {}             // the message is
  virtual void between() {}          // before the next one

  void pass(Bytes bytes) {
    if (!bytes.empty())
      wait({.kind = Piece::Kind::data, .bytes = std::move(bytes), .arrived = now_, .measured = false}, now_);
  }
  void pass(const std::string& text) { pass(Bytes{text.data(), text.size()}); }
  void close() {
    wait({.kind = is_request ? Piece::Kind::close : Piece::Kind::farewell, .bytes = {}, .arrived = now_},
         now_);
    closed_ = true;
  }
  // The header as it is, or as the rule changes it; the body follows where `swallow_` does not stop it.
  void apply(const HttpRule& rule, bool body_there) {
    switch (rule.act) {
      case Act::abort:
        return;
      case Act::delay: {
        auto delay = rule.delay;
        if (rule.jitter.count() > 0)
          delay += std::chrono::nanoseconds{std::uniform_int_distribution<std::int64_t>{
              -rule.jitter.count(), rule.jitter.count()}(this->random_)};
        delay = std::max(delay, std::chrono::nanoseconds{0});
        last_ = std::max(last_, now_ + delay);  // the order is kept
        const auto until = last_;
        wait({.kind = Piece::Kind::data,
              .bytes = {header_.data(), header_.size()},
              .arrived = now_,
              .rolled = delay},
             until);
        break;
      }
      case Act::headers: {
        const auto fields = changed(reader_->fields, rule);
        if (fields == reader_->fields) return unchanged();
        pass(header_text(header_, fields));
        break;
      }
      case Act::body:
        if (!body_there) return unchanged();
        pass(with_body(header_, reader_->fields, rule));
        swallow_ = true;
        // Counted when it is over: it may be the same body.
        replaced_ = rule.body;
        retyped_ = !rule.content_type.empty() &&
                   std::none_of(reader_->fields.begin(), reader_->fields.end(), [&](auto& one) {
                     return same_name(one.name, "Content-Type") && one.value == rule.content_type;
                   });
        reader_->wanted = *replaced_;
        return;
      case Act::truncate:
        return truncate(rule.keep_bytes, body_there);
    }
    ++counters_.done;
  }

  bool& unread_;
  const std::uint64_t& requests_;  // that were read on this connection
  HttpCounters& counters_;
  std::optional<Reader<is_request>> reader_;
  std::string header_;
  bool swallow_ = false;  // the rest of the message
  bool closed_ = false;   // nothing follows
  Clock::time_point now_;
  Clock::time_point last_;  // of the messages that were delayed

 private:
  void unchanged() {
    pass(header_);
    ++counters_.unchanged;
  }
  void truncate(std::uint64_t keep, bool body_there) {
    const auto length = reader_->content_length();
    if (!body_there || (length && *length <= keep)) return unchanged();
    pass(header_);
    left_ = keep;
    if (keep == 0) cut_off();
  }
  void cut_off() {
    left_.reset();
    ++counters_.done;
    close();
  }

  // Before a request they are a slip that servers forgive (RFC 9112, 2.2). Those behind a request that the
  // server never got are part of it.
  void blank_lines(Bytes& in) {
    auto part = in.cut(std::string_view(in.data(), in.size()).find_first_not_of("\r\n"));
    if (!swallowed_) pass(std::move(part));
  }

  // What the reader makes of some of it; false where it needs more.
  bool step(Bytes& in) {
    const bool had_header = reader_->is_header_done();
    error_code error;
    auto part = in.cut(reader_->put(boost::asio::buffer(in.data(), in.size()), error));
    if (!had_header) {
      header_.append(part.data(), part.size());
      if (reader_->is_header_done()) header();
    } else {
      body(std::move(part));
    }
    if (reader_->is_done()) return finish(), true;
    if (error == http::error::need_more) return false;
    if (!error) return true;
    give_up();
    pass_unread(in);
    return true;
  }

  // No HTTP/1, or not any more.
  void give_up() {
    if (!std::exchange(unread_, true)) ++(requests_ ? counters_.strayed : counters_.other);
  }

  // All of it, and what was kept of a message that had begun.
  void pass_unread(Bytes& in) {
    count_replaced(false);
    if (swallow_) return close();
    if (reader_ && !reader_->is_header_done()) pass(header_);
    reader_.reset();
    header_.clear();
    pass(in.cut(in.size()));
  }

  void body(Bytes part) {
    if (swallow_) return;
    if (left_ && part.size() > *left_) {
      pass(part.cut(*left_));
      return cut_off();
    }
    if (left_) *left_ -= part.size();
    pass(std::move(part));
  }

  void finish() {
    over();
    count_replaced(true);
    if (left_) ++counters_.unchanged;  // it was no longer than what is kept
    reader_.reset();
    header_.clear();
    left_.reset();
    swallowed_ = std::exchange(swallow_, false);
    between();
  }

  // What comes after a message that breaks off, or that only the end ends, would be taken for its rest.
  void ended() {
    if (!reader_) between();
    if (replaced_) count_replaced(ends_by_the_end());
    if (left_ && ends_by_the_end()) ++counters_.unchanged;
    if (!swallow_ && !closed_) {
      if (reader_ && !reader_->is_header_done()) pass(header_);
      if (!kept_.empty()) pass(kept_);
    }
    closed_ = true;
  }

  // Of a body that was replaced, once all of it came, or as much as ever will.
  void count_replaced(bool whole) {
    if (!replaced_) return;
    const bool same =
        whole && reader_ && !reader_->body_differs && reader_->body_bytes == replaced_->size() && !retyped_;
    ++(same ? counters_.unchanged : counters_.done);
    replaced_.reset();
  }

  bool ends_by_the_end() {
    if (!reader_) return false;
    error_code broken_off;
    reader_->put_eof(broken_off);
    return !broken_off;
  }

  bool swallowed_ = false;  // the message before
  std::string kept_;        // of a part that is not complete
  std::optional<std::uint64_t> left_;
  std::optional<std::string> replaced_;  // by this body
  bool retyped_ = false;                 // and its type by another
};

}  // namespace

class HttpSession::Responses : public Messages<false> {
 public:
  explicit Responses(State& state)
      : Messages(state.unread, state.requests, state.control.counters,
                 state.control.seed ^ ~state.connection),
        state_(state) {}

  // Answers of our own, in their turn.
  void answer(Clock::time_point now) {
    now_ = now;
    between();
  }

 protected:
  bool start_message() override {
    if (state_.waiting.empty()) return false;  // nobody asked
    reader_.emplace();
    reader_->skip(state_.waiting.front().head);
    return true;
  }
  void header() override {
    auto& exchange = state_.waiting.front();
    const auto status = reader_->status;
    final_ = status >= 200 || status == 101;
    const bool tunnel = status == 101 || (exchange.connect && status >= 200 && status < 300);
    exchange.begun = exchange.begun || final_;
    if (final_ && exchange.rule && exchange.rule->act == Act::abort) {
      swallow_ = true;
      // The server speaks something else from now on, or nothing.
      exchange.last = exchange.last || tunnel || !reader_->keep_alive();
      return answer(exchange);
    }
    if (tunnel) state_.unread = true;
    if (final_ && exchange.rule)
      apply(*exchange.rule, !tunnel && has_body(status, exchange.head));
    else
      pass(header_);
  }
  void over() override {
    if (std::exchange(final_, false)) state_.waiting.pop_front();
  }
  void between() override {
    while (!reader_ && !closed_ && !state_.waiting.empty() && state_.waiting.front().answered_here) {
      const auto exchange = std::move(state_.waiting.front());
      state_.waiting.pop_front();
      answer(exchange);
    }
  }

 private:
  void answer(const Exchange& exchange) {
    pass(own_answer(*exchange.rule, exchange.head, exchange.connection()));
    ++counters_.done;
    if (exchange.last) close();
  }

  State& state_;
  bool final_ = false;  // no 1xx answer
};

class HttpSession::Requests : public Messages<true> {
 public:
  Requests(HttpSession& session, State& state)
      : Messages(state.unread, state.requests, state.control.counters, state.control.seed ^ state.connection),
        session_(session),
        state_(state) {}

 protected:
  bool start_message() override {
    reader_.emplace();
    return true;
  }
  void header() override {
    Exchange exchange;
    exchange.head = reader_->method == "HEAD";
    exchange.connect = reader_->method == "CONNECT";
    exchange.last = !reader_->keep_alive();
    exchange.kept = reader_->version < 11;
    auto rule = state_.rolled(*reader_);
    if (rule && rule->side == Side::request && rule->act == Act::abort) {
      exchange.answered_here = swallow_ = true;
      // Whether the body follows, now that the answer is no 100, is the client's choice: nobody could tell
      // what comes next.
      exchange.last = exchange.last || std::any_of(reader_->fields.begin(), reader_->fields.end(),
                                                   [](auto& one) { return same_name(one.name, "Expect"); });
    } else if (rule && rule->side == Side::request) {
      apply(*std::exchange(rule, nullptr), !reader_->is_done());
    } else {
      pass(header_);
    }
    exchange.rule = std::move(rule);
    state_.waiting.push_back(std::move(exchange));
    if (state_.waiting.back().answered_here && session_.wake) session_.wake();
  }

 private:
  HttpSession& session_;
  State& state_;
};

HttpSession::HttpSession(std::shared_ptr<HttpControl> control, std::uint64_t connection)
    : state_(new State{.control = *control, .connection = connection}), control_(std::move(control)) {}
HttpSession::~HttpSession() {
  for (auto& exchange : state_->waiting)
    state_->control.counters.unanswered += exchange.rule && !exchange.begun;
}

std::unique_ptr<Stage> HttpSession::requests() {
  auto out = std::make_unique<Requests>(*this, *state_);
  requests_ = out.get();
  return out;
}

std::unique_ptr<Stage> HttpSession::responses() {
  auto out = std::make_unique<Responses>(*state_);
  responses_ = out.get();
  return out;
}

void HttpSession::answer() {
  responses_->answer(Clock::now());
}

void HttpSession::rule_changed() {
  const auto& rule = control_->rule;
  for (auto& exchange : state_->waiting)
    if (exchange.rule && !exchange.answered_here)
      exchange.rule = rule && rule->side == Side::response ? rule : nullptr;
  const auto now = Clock::now();
  requests_->rule_changed(rule.get(), now);
  responses_->rule_changed(rule.get(), now);
}

}  // namespace squall::proxy
