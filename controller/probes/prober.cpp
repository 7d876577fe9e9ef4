#include "controller/probes/prober.hpp"

#include <queue>
#include <stdexcept>

#include <time.h>
#include <unordered_map>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

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

std::unique_ptr<Probe> make_probe(boost::asio::io_context& loop, http::Client& client,
                                  const ProbeSpec& spec) {
  try {
    switch (spec.kind) {
      case ProbeSpec::Kind::http:
        return http_probe(client, spec);
      case ProbeSpec::Kind::tcp:
        return tcp_probe(loop, spec);
      case ProbeSpec::Kind::dns:
        return dns_probe(loop, spec);
      case ProbeSpec::Kind::redis:
        return redis_probe(loop, spec);
      case ProbeSpec::Kind::postgres:
        return postgres_probe(loop, spec);
      case ProbeSpec::Kind::command:
        return command_probe(loop, spec);
      case ProbeSpec::Kind::process:
        return process_probe(loop, spec);
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
  bool waited_out = false;
  bool unheard = false;  // an answer may have waited while this process stood still
  nanoseconds stood{};   // how long this process stood still since it was asked
};

// How much longer CLOCK_BOOTTIME has run than the clock of timers: the host's sleep.
nanoseconds slept() {
  timespec boot{}, awake{};
  clock_gettime(CLOCK_MONOTONIC, &awake);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  return std::chrono::seconds(boot.tv_sec - awake.tv_sec) + nanoseconds(boot.tv_nsec - awake.tv_nsec);
}

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
  void report(const Scheduled&, Time due, ProbeAnswer, nanoseconds stood = {}, std::string local = "");
  std::vector<NotAsked> stood_still(nanoseconds stalled);
  std::int64_t since_start(Time) const;
  void finish(std::function<void()> done);
  void give_up(const std::string& error);
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
  nanoseconds slept_before = slept(), asleep{};  // since the start
  std::function<void()> look = [] {};
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
  look();
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
    return report(
        scheduled, due,
        {.error = fmt::format("not started: {} still unanswered", scheduled.asked), .unasked = true});
  }
  ++scheduled.asked;
  const auto id = ++last_flight;
  flights.try_emplace(id, scheduled, due, boost::asio::steady_timer(loop, Clock::now() + scheduled.timeout));
  try {
    auto question = scheduled.probe->ask([this, id](ProbeAnswer answer) { settle(id, std::move(answer)); });
    flights.at(id).question = std::move(question);
    watch_timeout(id, false);
  } catch (const std::exception& error) {
    settle(id, {.error = fmt::format("could not be asked: {}", error.what()), .unasked = true});
  }
}

void Prober::State::watch_timeout(std::uint64_t id, bool looked_again) {
  // A timer that has expired cannot be cancelled any more: its flight may be settled when this runs.
  flights.at(id).timeout.async_wait(
      [weak = weak_from_this(), id, looked_again](const boost::system::error_code& failed) {
        const auto self = weak.lock();
        if (failed || !self || !self->flights.contains(id)) return;
        self->look();
        if (Clock::now() < self->flights.at(id).timeout.expiry())
          return;  // it was given more time, and is watched anew
        Flight& flight = self->flights.at(id);
        // Where this loop is late itself, the answer may be here already: it is looked at first.
        if (!looked_again && Clock::now() - flight.timeout.expiry() > std::chrono::milliseconds(5)) {
          flight.timeout.expires_after(std::chrono::milliseconds(10));
          return self->watch_timeout(id, true);
        }
        flight.waited_out = true;
        self->settle(id, {.error = "timed out after " + to_string(Duration::of(flight.of.timeout))});
      });
}

void Prober::State::settle(std::uint64_t id, ProbeAnswer answer) {
  const auto self = shared_from_this();
  look();
  const auto node = flights.extract(id);
  const Flight& flight = node.mapped();
  Scheduled& scheduled = flight.of;
  --scheduled.asked;
  const auto local = flight.question ? flight.question->local() : "";
  // When an answer came that was heard after a standstill, nobody knows; that none came in its time, we do.
  if (flight.unheard && !flight.waited_out) answer.unasked = true, answer.error = "squall stood still";
  report(scheduled, flight.due, std::move(answer), flight.stood, local);
  if (finished && flights.empty()) std::exchange(finished, nullptr)();
}

std::int64_t Prober::State::since_start(Time time) const {
  return (nanoseconds(time - start) + asleep).count();
}

void Prober::State::report(const Scheduled& scheduled, Time due, ProbeAnswer answer, nanoseconds stood,
                           std::string local) {
  if (closed) return;
  sink(scheduled.service, scheduled.name,
       {.due_ns = since_start(due),
        .latency_ns = nanoseconds(Clock::now() - due - stood).count(),
        .ok = answer.ok && !answer.unasked,
        .error = std::move(answer.error),
        .code = answer.code,
        .phases = answer.phases,
        .local = std::move(local),
        .opened = answer.opened,
        .unseen = answer.unasked});
}

std::vector<NotAsked> Prober::State::stood_still(nanoseconds stalled) {
  std::vector<NotAsked> out;
  const Time now = Clock::now();
  // The clocks are read one after the other: a little is no sleep.
  if (const auto more = slept() - slept_before - asleep; more > std::chrono::milliseconds(1)) asleep += more;
  for (auto& probe : probes) {
    if (!running || probe->due > now) continue;
    const auto missed = (now - probe->due) / probe->every + 1;
    out.push_back({probe->service, probe->name, since_start(probe->due), probe->every.count(), missed});
    probe->due += missed * probe->every;
  }
  if (!out.empty()) {
    queue = {};
    for (auto& probe : probes)
      queue.push(probe.get());
  }
  for (auto& [id, flight] : flights) {
    flight.unheard = true;
    flight.stood += stalled;
    flight.timeout.expires_at(flight.timeout.expiry() + stalled);
    watch_timeout(id, false);
  }
  return out;
}

void Prober::State::give_up(const std::string& error) {
  while (!flights.empty()) {
    flights.begin()->second.waited_out = true;
    settle(flights.begin()->first, {.error = error});
  }
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

Prober::~Prober() {
  state_->close();
}

void Prober::add(const std::string& service, const ProbeSpec& spec) {
  state_->add(service, spec);
}

void Prober::before_each(std::function<void()> look) {
  state_->look = std::move(look);
}

std::vector<NotAsked> Prober::stood_still(nanoseconds stalled) {
  return state_->stood_still(stalled);
}

std::vector<Waiting> Prober::waiting() const {
  std::vector<Waiting> out;
  for (auto& [id, flight] : state_->flights)
    out.push_back({flight.of.service, flight.of.name, state_->since_start(flight.due + flight.stood)});
  return out;
}

void Prober::give_up(const std::string& error) {
  state_->give_up(error);
}

void Prober::run() {
  state_->run();
}

void Prober::finish(std::function<void()> done) {
  state_->finish(std::move(done));
}

}  // namespace squall
