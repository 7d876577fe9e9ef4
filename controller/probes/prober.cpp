#include "controller/probes/prober.hpp"

#include <queue>
#include <stdexcept>
#include <unordered_map>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "controller/http/client.hpp"
#include "controller/probes/kinds.hpp"
#include "controller/probes/schedule.hpp"

namespace squall {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using std::chrono::nanoseconds;

// A probe whose description cannot be used says so whenever it is due.
class Unusable : public Probe {
 public:
  Unusable(boost::asio::io_context& loop, std::string error) : loop_(loop), error_(std::move(error)) {}
  std::shared_ptr<Question> ask(Question::Done done) override {
    struct Refusal : Question {
      using Question::Question;
      void later(boost::asio::io_context& loop, const std::string& error) {
        boost::asio::post(loop, while_asked([this, error] { fail(error); }));
      }
    };
    auto refusal = std::make_shared<Refusal>(std::move(done));
    refusal->later(loop_, error_);
    return refusal;
  }

 private:
  boost::asio::io_context& loop_;
  std::string error_;
};

std::unique_ptr<Probe> make_probe(boost::asio::io_context& loop, http::Client& client, const ProbeSpec& spec) {
  try {
    switch (spec.kind) {
      case ProbeSpec::Kind::http: return http_probe(client, spec);
      case ProbeSpec::Kind::tcp: return tcp_probe(loop, spec);
      case ProbeSpec::Kind::dns: return dns_probe(loop, spec);
      case ProbeSpec::Kind::redis: return redis_probe(loop, spec);
      case ProbeSpec::Kind::postgres: return postgres_probe(loop, spec);
      case ProbeSpec::Kind::command: return command_probe(loop, spec);
      case ProbeSpec::Kind::process: return process_probe(loop, spec);
    }
    throw std::invalid_argument("no such kind of probe");
  } catch (const std::invalid_argument& error) {
    return std::make_unique<Unusable>(loop, error.what());
  }
}

// One probe of one service, and when it is due next.
struct Scheduled {
  std::string service, name;
  nanoseconds every, timeout;
  nanoseconds offset;
  std::size_t most_asked;  // at once
  std::unique_ptr<Probe> probe;
  Time due{};
  std::size_t asked = 0;  // and not answered yet
};

// One question that is not answered yet.
struct Flight {
  Flight(Scheduled& scheduled, Time at, boost::asio::steady_timer timer)
      : of(scheduled), due(at), timeout(std::move(timer)) {}
  Scheduled& of;
  Time due;
  boost::asio::steady_timer timeout;
  std::shared_ptr<Question> question;
};

struct LaterDue {
  bool operator()(const Scheduled* a, const Scheduled* b) const { return a->due > b->due; }
};

}  // namespace

struct Prober::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io, Time zero, Sink to)
      : loop(io), start(zero), sink(std::move(to)), client(io), alarm(io) {}

  void add(const std::string& service, const ProbeSpec& spec);
  void run();
  void wait_for_next();
  void ask_all_due();
  void ask(Scheduled&, Time due);
  void watch_timeout(std::uint64_t flight, bool looked_again);
  void settle(std::uint64_t flight, ProbeAnswer);
  void report(const Scheduled&, Time due, ProbeAnswer, std::string local = "");
  void finish(std::function<void()> done);
  void close();

  boost::asio::io_context& loop;
  Time start;
  Sink sink;
  http::Client client;
  Spread spread;
  std::vector<std::unique_ptr<Scheduled>> probes;
  std::priority_queue<Scheduled*, std::vector<Scheduled*>, LaterDue> queue;
  std::unordered_map<std::uint64_t, Flight> flights;  // after what they refer to: destroyed first
  std::uint64_t last_flight = 0;
  boost::asio::steady_timer alarm;
  bool running = false;
  bool closed = false;
  std::function<void()> finished;
};

void Prober::State::add(const std::string& service, const ProbeSpec& spec) {
  auto scheduled = std::make_unique<Scheduled>();
  scheduled->service = service;
  scheduled->name = spec.name;
  scheduled->every = std::max<nanoseconds>(spec.every.chrono(), std::chrono::microseconds(100));
  scheduled->timeout = spec.timeout.chrono();
  scheduled->offset = spread.next(scheduled->every);
  scheduled->most_asked = most_in_flight(scheduled->every, scheduled->timeout);
  scheduled->probe = make_probe(loop, client, spec);
  probes.push_back(std::move(scheduled));
}

void Prober::State::run() {
  const Time begin = Clock::now();
  for (const auto& probe : probes) {
    probe->due = begin + probe->offset;
    queue.push(probe.get());
  }
  running = true;
  wait_for_next();
}

void Prober::State::wait_for_next() {
  if (!running || queue.empty()) return;
  alarm.expires_at(queue.top()->due);
  alarm.async_wait([weak = weak_from_this()](const boost::system::error_code& failed) {
    const auto self = weak.lock();
    if (!self || failed) return;
    self->ask_all_due();
    self->wait_for_next();
  });
}

// Each due time is asked for, however late the loop is: none is skipped.
void Prober::State::ask_all_due() {
  const Time now = Clock::now();
  while (running && queue.top()->due <= now) {
    Scheduled& next = *queue.top();
    queue.pop();
    const Time due = next.due;
    next.due += next.every;
    queue.push(&next);
    ask(next, due);
  }
}

void Prober::State::ask(Scheduled& scheduled, Time due) {
  if (scheduled.asked >= scheduled.most_asked) {
    return report(scheduled, due, {.error = fmt::format("not started: {} still unanswered", scheduled.asked)});
  }
  ++scheduled.asked;
  const auto id = ++last_flight;
  flights.try_emplace(id, scheduled, due, boost::asio::steady_timer(loop, Clock::now() + scheduled.timeout));
  try {
    auto question = scheduled.probe->ask([this, id](ProbeAnswer answer) { settle(id, std::move(answer)); });
    flights.at(id).question = std::move(question);
    watch_timeout(id, false);
  } catch (const std::exception& error) {
    settle(id, {.error = error.what()});
  }
}

void Prober::State::watch_timeout(std::uint64_t id, bool looked_again) {
  // A timer that has expired cannot be cancelled any more: its flight may be settled when this runs.
  flights.at(id).timeout.async_wait([weak = weak_from_this(), id, looked_again](const boost::system::error_code& failed) {
    const auto self = weak.lock();
    if (failed || !self || !self->flights.contains(id)) return;
    Flight& flight = self->flights.at(id);
    // Where this loop is late itself, the answer may be here already: it is looked at first.
    if (!looked_again && Clock::now() - flight.timeout.expiry() > std::chrono::milliseconds(5)) {
      flight.timeout.expires_after(std::chrono::milliseconds(10));
      return self->watch_timeout(id, true);
    }
    self->settle(id, {.error = "timed out after " + to_string(Duration::of(flight.of.timeout))});
  });
}

void Prober::State::settle(std::uint64_t id, ProbeAnswer answer) {
  const auto self = shared_from_this();
  const auto flight = flights.extract(id);
  Scheduled& scheduled = flight.mapped().of;
  --scheduled.asked;
  const auto& question = flight.mapped().question;
  report(scheduled, flight.mapped().due, std::move(answer), question ? question->local() : "");
  if (finished && flights.empty()) std::exchange(finished, nullptr)();
}

void Prober::State::report(const Scheduled& scheduled, Time due, ProbeAnswer answer, std::string local) {
  if (closed) return;
  sink(scheduled.service, scheduled.name,
       {.due_ns = nanoseconds(due - start).count(),
        .latency_ns = nanoseconds(Clock::now() - due).count(),
        .ok = answer.ok,
        .error = std::move(answer.error),
        .code = answer.code,
        .phases = answer.phases,
        .local = std::move(local)});
}

void Prober::State::finish(std::function<void()> done) {
  running = false;
  alarm.cancel();
  finished = std::move(done);
  boost::asio::post(loop, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->finished && self->flights.empty()) std::exchange(self->finished, nullptr)();
  });
}

void Prober::State::close() {
  closed = true;
  running = false;
  finished = nullptr;
  alarm.cancel();
  flights.clear();
}

Prober::Prober(boost::asio::io_context& loop, Time start, Sink sink)
    : state_(std::make_shared<State>(loop, start, std::move(sink))) {}

Prober::~Prober() { state_->close(); }

void Prober::add(const std::string& service, const ProbeSpec& spec) { state_->add(service, spec); }

void Prober::run() { state_->run(); }

void Prober::finish(std::function<void()> done) { state_->finish(std::move(done)); }

}  // namespace squall
