#include "injector/session.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <fmt/format.h>

#include "injector/applied.hpp"
#include "injector/doctor.hpp"
#include "injector/guardian.hpp"
#include "injector/host/snapshot.hpp"
#include "injector/protocol.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::size_t longest_line = 1 << 20;
constexpr auto dose_period = 250ms;
constexpr auto beat_period = 500ms;
constexpr auto ramp_period = 100ms;

// A request that is answered with "ok": false.
struct Refused {
  std::string kind, text;
};

std::string text_of(const json::object& object, const char* key, const std::string& otherwise = "") {
  auto* member = object.if_contains(key);
  if (!member) return otherwise;
  if (!member->is_string()) throw Refused{"input", fmt::format("expected \"{}\" to be a text", key)};
  return std::string(member->get_string());
}

std::int64_t number_of(const json::object& object, const char* key, std::int64_t otherwise) {
  auto* member = object.if_contains(key);
  if (!member) return otherwise;
  json::error_code error;
  const auto value = member->is_number() ? member->to_number<std::int64_t>(error) : 0;
  if (!member->is_number() || error || value < 0) throw Refused{"input", fmt::format("expected \"{}\" to be a whole number", key)};
  return value;
}

std::uint64_t seed_of(const json::object& object) {
  auto* member = object.if_contains("seed");
  if (!member) return 1;
  if (member->is_string()) return std::strtoull(member->get_string().c_str(), nullptr, 10);
  json::error_code error;
  return member->is_number() ? member->to_number<std::uint64_t>(error) : 1;
}

json::array texts(const std::vector<std::string>& list) {
  json::array out;
  for (auto& text : list) out.emplace_back(text);
  return out;
}

json::array left_json(const std::vector<Left>& left) {
  json::array out;
  for (auto& one : left) out.push_back(one.json());
  return out;
}

std::string fresh_session() {
  std::uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) number = static_cast<std::uint32_t>(monotonic_ns());
  return fmt::format("{:08x}", number);
}

// One fault from its apply to its undo.
struct Running {
  explicit Running(asio::io_context& io) : end(io), ramp(io) {}
  std::string step, name;
  const FaultType* type = nullptr;
  std::unique_ptr<Fault> fault;
  std::vector<std::string> claims;
  std::unique_ptr<Applied> applied;
  std::int64_t until = 0, started = 0, ramp_ns = 0;
  asio::steady_timer end, ramp;
};

class Session {
 public:
  explicit Session(const SessionOptions& options)
      : options_(options), in_(io_, ::dup(options.in)), buffer_(longest_line), out_(options.out), signals_(io_, SIGINT, SIGTERM, SIGHUP),
        doses_(io_), beats_(io_), lease_(io_), guardian_watch_(io_) {}

  int run() {
    ::prctl(PR_SET_TIMERSLACK, 1);
    signals_.async_wait([this](auto error, int) {
      if (!error) leave("signal");
    });
    read();
    io_.run();
    return left_something_ ? 6 : 0;
  }

 private:
  void read() {
    asio::async_read_until(in_, buffer_, '\n', [this](auto error, std::size_t size) {
      if (error == asio::error::not_found) {
        send({{"ok", false}, {"kind", "input"}, {"error", "a request is longer than 1 MiB"}});
        return leave("a request without an end");
      }
      if (error) return leave("the link ended");
      std::string line(static_cast<const char*>(buffer_.data().data()), size);
      buffer_.consume(size);
      take(line);
      if (!leaving_) read();
    });
  }

  // The other side may be slow to read, never absent for long: a link that takes nothing for 5 s is taken for lost.
  void send(const json::object& message) {
    const auto line = json::serialize(message) + "\n";
    std::size_t done = 0;
    while (done < line.size() && !deaf_) {
      const auto wrote = ::write(out_, line.data() + done, line.size() - done);
      if (wrote > 0) {
        done += static_cast<std::size_t>(wrote);
      } else if (errno == EAGAIN) {
        pollfd ready{out_, POLLOUT, 0};
        if (::poll(&ready, 1, 5000) != 1) deaf_ = true;
      } else if (errno != EINTR) {
        deaf_ = true;
      }
    }
  }

  void take(const std::string& line) {
    json::object reply;
    json::error_code bad;
    auto value = json::parse(line, bad);
    if (bad || !value.is_object()) return send({{"id", nullptr}, {"ok", false}, {"kind", "input"}, {"error", "expected one JSON object a line"}});
    auto& request = value.get_object();
    auto* id = request.if_contains("id");
    try {
      reply = answer(request);
      reply["ok"] = true;
    } catch (const Refused& refused) {
      reply = {{"ok", false}, {"kind", refused.kind}, {"error", refused.text}};
    } catch (const std::exception& e) {
      reply = {{"ok", false}, {"kind", "failed"}, {"error", e.what()}};
    }
    reply["id"] = id ? *id : json::value{};
    send(reply);
    if (bye_) leave("bye");
  }

  json::object answer(const json::object& request) {
    const auto verb = text_of(request, "do");
    if (lease_ns_ > 0) renew();
    if (verb == "hello") return hello(request);
    if (verb == "doctor") return {{"faults", doctor_json()}};
    if (verb == "plan") return plan(request);
    if (verb == "resolve") return resolve(request);
    if (verb == "snapshot") {
      snapshot_ = snapshot_host();
      return {};
    }
    if (verb == "diff") return diff();
    if (verb == "apply") return apply(request);
    if (verb == "dose") return {{"dose", find(request).fault->measure().json()}};
    if (verb == "undo") return undo(find(request), "asked");
    if (verb == "undo_all") return undo_all("asked");
    if (verb == "renew") return {};
    if (verb == "bye") {
      bye_ = true;
      return undo_all("bye");
    }
    throw Refused{"input", fmt::format("unknown request \"{}\"", verb)};
  }

  json::object hello(const json::object& request) {
    if (auto version = number_of(request, "version", protocol_version); version != protocol_version)
      throw Refused{"refused", fmt::format("this injector speaks version {} of the protocol, the caller version {}", protocol_version, version)};
    const auto environment = text_of(request, "environment");
    if (!options_.policy.environment.empty() && !environment.empty() && environment != options_.policy.environment)
      throw Refused{"refused", fmt::format("this host belongs to the environment \"{}\", the drill is for \"{}\"", options_.policy.environment, environment)};
    run_ = text_of(request, "run");
    lease_ns_ = number_of(request, "lease_ns", default_lease_ns);
    utsname kernel{};
    ::uname(&kernel);
    if (!run_.empty() && ::geteuid() == 0) arm();
    return {{"version", protocol_version}, {"host", kernel.nodename}, {"boot_id", boot_id()}, {"kernel", kernel.release},
            {"pid", ::getpid()},           {"session", session_}};
  }

  // The journal and the guardian exist before the first change, and only then.
  void arm() {
    if (::geteuid() != 0) throw Refused{"refused", "changing a host needs root: run squall as root, or allow sudo -n squall-injector"};
    if (!journal_) journal_ = std::make_unique<Journal>(options_.state, session_);
    if (guardian_ && guardian_->alive()) return;
    guardian_ = std::make_unique<Guardian>(journal_->path());
    guardian_watch_ = asio::posix::stream_descriptor(io_, ::dup(guardian_->pidfd()));
    guardian_watch_.async_wait(asio::posix::stream_descriptor::wait_read, [this](auto error) {
      if (error || leaving_) return;
      // Without a guardian nothing may stay in force; another one takes over at once.
      try {
        guardian_.reset();
        arm();
        guardian_->beat(!running_.empty());
      } catch (const std::exception&) {
        undo_everything("the guardian is gone and another could not be started");
      }
    });
  }

  std::unique_ptr<Fault> prepare(const json::object& request, const FaultType*& type, TargetSpec& target, bool planning) {
    const auto name = text_of(request, "fault");
    type = find_fault(name);
    if (!type) throw Refused{"input", fmt::format("unknown fault \"{}\"", name)};
    Diagnostics wrong{name};
    auto* with = request.if_contains("with");
    auto* on = request.if_contains("on");
    const auto parameters = with ? from_json(*with) : Value::map();
    const auto aim = on ? from_json(*on) : Value::map();
    Describe<TargetSpec>::object().decode(aim, target, wrong);
    for (auto& member : aim.members)
      if (std::find(type->aims.begin(), type->aims.end(), member.key) == type->aims.end())
        wrong.error({}, fmt::format("{} cannot be aimed with \"{}\"", name, member.key));
    type->parameters->check(parameters, wrong);
    std::unique_ptr<Fault> fault;
    if (wrong.ok()) {
      check_policy(*type, target, number_of(request, "for_ns", 0));
      Setting setting{planning ? nullptr : &io_, session_, text_of(request, "step", name), seed_of(request)};
      fault = type->prepare(parameters, target, setting, wrong);
    }
    if (!fault) {
      auto text = wrong.render();
      while (!text.empty() && text.back() == '\n') text.pop_back();
      if (auto prefix = fmt::format("{}: error: ", name); text.starts_with(prefix)) text = text.substr(prefix.size());
      throw Refused{"input", text};
    }
    return fault;
  }

  void check_policy(const FaultType& type, const TargetSpec& target, std::int64_t for_ns) {
    if (auto rule = options_.policy.refuses(type, target, for_ns); !rule.empty()) throw Refused{"refused", rule};
    if (!target.selects_processes()) return;
    auto processes = find_processes(target);
    if (!processes) throw Refused{"input", processes.error()};
    if (auto rule = options_.policy.refuses(*processes); !rule.empty()) throw Refused{"refused", rule};
  }

  json::object plan(const json::object& request) {
    const FaultType* type = nullptr;
    TargetSpec target;
    auto fault = prepare(request, type, target, true);
    Transaction transaction;
    fault->apply(transaction);
    json::array changes;
    for (auto& change : transaction.changes()) changes.push_back(json::object{{"do", change.what}, {"undo", undo_text(change)}});
    return {{"mechanism", fault->mechanism()}, {"targets", texts(fault->targets())}, {"claims", texts(fault->claims())},
            {"limits", texts(fault->limits())}, {"changes", std::move(changes)}};
  }

  json::object resolve(const json::object& request) {
    TargetSpec target;
    Diagnostics wrong{"on"};
    auto* on = request.if_contains("on");
    Describe<TargetSpec>::object().decode(on ? from_json(*on) : Value::map(), target, wrong);
    if (!wrong.ok()) throw Refused{"input", wrong.render()};
    auto found = find_processes(target);
    if (!found) throw Refused{"input", found.error()};
    json::array out;
    for (auto& process : *found)
      out.push_back(json::object{{"pid", process.pid}, {"exe", process.exe}, {"command", process.command}, {"cgroup", process.cgroup}});
    return {{"processes", std::move(out)}};
  }

  json::object diff() {
    if (!snapshot_) throw Refused{"input", "there is no snapshot to compare with"};
    const auto found = differences(*snapshot_, snapshot_host());
    return {{"clean", found.empty()}, {"differences", texts(found)}};
  }

  // Who on this host holds a claim already: this session, or another injector that is alive.
  void check_claims(const std::vector<std::string>& claims) {
    auto holds = [&](const std::vector<std::string>& theirs) {
      for (auto& claim : claims)
        if (std::find(theirs.begin(), theirs.end(), claim) != theirs.end()) return claim;
      return std::string();
    };
    for (auto& [step, other] : running_)
      if (auto claim = holds(other->claims); !claim.empty())
        throw Refused{"conflict", fmt::format("\"{}\" ({}) already holds {}", step, other->name, claim)};
    for (auto& journal : read_journals(options_.state)) {
      if (journal.session == session_ || !journal.owner_alive()) continue;
      for (auto& fault : journal.faults)
        if (auto claim = holds(fault.claims); !claim.empty())
          throw Refused{"conflict", fmt::format("\"{}\" ({}) of another run{} holds {} for {} more seconds", fault.step, fault.fault,
                                                fault.run.empty() ? "" : " (" + fault.run + ")", claim,
                                                std::max<std::int64_t>(0, (fault.until - wall_ns()) / 1'000'000'000))};
    }
  }

  json::object apply(const json::object& request) {
    const auto received = monotonic_ns();
    const auto step = text_of(request, "step");
    if (step.empty()) throw Refused{"input", "missing \"step\""};
    if (running_.contains(step)) throw Refused{"conflict", fmt::format("a step \"{}\" is in force already", step)};
    auto running = std::make_unique<Running>(io_);
    TargetSpec target;
    running->step = step;
    running->fault = prepare(request, running->type, target, false);
    running->name = running->type->name;
    const auto for_ns = number_of(request, "for_ns", 0);
    if (for_ns <= 0 && running->type->lasting) throw Refused{"input", "missing \"for_ns\": how long the fault is to last"};
    running->ramp_ns = number_of(request, "ramp_up_ns", 0);
    if (running->ramp_ns > 0 && !running->type->ramps) throw Refused{"input", fmt::format("{} cannot be ramped up", running->name)};
    running->claims = running->fault->claims();
    arm();
    Fd lock{::open((options_.state + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    if (lock) ::flock(lock.get(), LOCK_EX);
    check_claims(running->claims);
    if (running->ramp_ns > 0) running->fault->set_level(0);
    Transaction transaction;
    running->fault->apply(transaction);
    running->started = wall_ns();
    running->until = running->started + for_ns;
    guardian_->beat(true);
    running->applied = std::make_unique<Applied>(
        std::move(transaction), *journal_, step,
        std::vector<json::object>{fault_record({step, running->name, running->fault->mechanism(), run_, running->claims, running->started, running->until})});
    const auto apply_ns = monotonic_ns() - received;
    auto& kept = *(running_[step] = std::move(running));
    kept.fault->started();
    schedule(kept, for_ns);
    return {{"step", step},
            {"mechanism", kept.fault->mechanism()},
            {"targets", texts(kept.fault->targets())},
            {"limits", texts(kept.fault->limits())},
            {"applied_at", kept.started},
            {"apply_ns", apply_ns}};
  }

  void schedule(Running& running, std::int64_t for_ns) {
    if (for_ns > 0) {
      later(running.end, std::chrono::nanoseconds{for_ns}, [this, step = running.step] { undo_and_tell(step, "its time was over"); });
    }
    if (running.ramp_ns > 0) ramp(running.step);
    if (running_.size() > 1) return;
    later(doses_, dose_period, [this] { tick_doses(); });
    later(beats_, beat_period, [this] { tick_beats(); });
    renew();
  }

  void ramp(const std::string& step) {
    auto found = running_.find(step);
    if (found == running_.end()) return;
    auto& running = *found->second;
    const double level = static_cast<double>(wall_ns() - running.started) / static_cast<double>(running.ramp_ns);
    running.fault->set_level(std::clamp(level, 0.0, 1.0));
    if (level >= 1) return;
    later(running.ramp, ramp_period, [this, step] { ramp(step); });
  }

  void tick_doses() {
    if (running_.empty()) return;
    for (auto& [step, running] : running_) {
      tell_events(*running);
      send({{"event", "dose"}, {"step", step}, {"at", wall_ns()}, {"dose", running->fault->measure().json()}});
    }
    later(doses_, dose_period, [this] { tick_doses(); });
  }

  static void later(asio::steady_timer& timer, std::chrono::nanoseconds after, std::function<void()> act) {
    timer.expires_after(after);
    timer.async_wait([act = std::move(act)](auto error) {
      if (!error) act();
    });
  }

  void tick_beats() {
    if (running_.empty() || !guardian_) return;
    guardian_->beat(true);
    later(beats_, beat_period, [this] { tick_beats(); });
  }

  // Any word from the caller extends the lease; it matters only while something is in force.
  void renew() {
    lease_.cancel();
    if (running_.empty() || lease_ns_ <= 0) return;
    lease_.expires_after(std::chrono::nanoseconds{lease_ns_});
    lease_.async_wait([this](auto error) {
      if (error) return;
      std::vector<std::string> steps;
      for (auto& [step, running] : running_) steps.push_back(step);
      for (auto& step : steps) undo_and_tell(step, "the lease ran out");
    });
  }

  void tell_events(Running& running) {
    for (auto& event : running.fault->events()) {
      json::object line{{"event", "fault"}, {"step", running.step}, {"what", event.event}, {"at", event.at}};
      for (auto& [key, value] : event.with) line[key] = value;
      send(line);
    }
  }

  Running& find(const json::object& request) {
    auto found = running_.find(text_of(request, "step"));
    if (found == running_.end()) throw Refused{"input", fmt::format("no step \"{}\" is in force", text_of(request, "step"))};
    return *found->second;
  }

  json::object undo(Running& running, const std::string& why) {
    const auto begin = monotonic_ns();
    running.end.cancel();
    running.ramp.cancel();
    running.fault->stopping();
    const auto left = running.applied->undo();
    const auto undo_ns = monotonic_ns() - begin;
    tell_events(running);
    json::object told{{"step", running.step}, {"undone_at", wall_ns()}, {"undo_ns", undo_ns}, {"why", why},
                      {"clean", left.empty()}, {"left", left_json(left)}, {"dose", running.fault->measure().json()}};
    if (!left.empty()) left_something_ = true;
    try {
      journal_->append({ended_record(running.step)});
    } catch (const std::exception&) {
      // Only `squall status` would miss it; every inverse is marked as undone, or idempotent.
    }
    running_.erase(running.step);
    if (running_.empty()) {
      doses_.cancel();
      beats_.cancel();
      lease_.cancel();
      if (guardian_) guardian_->beat(false);
    }
    return told;
  }

  void undo_and_tell(const std::string& step, const std::string& why) {
    auto found = running_.find(step);
    if (found == running_.end()) return;
    auto told = undo(*found->second, why);
    told["event"] = "undone";
    told["at"] = told["undone_at"];
    send(told);
  }

  json::object undo_all(const std::string& why) {
    json::array left;
    while (!running_.empty()) {
      auto told = undo(*running_.begin()->second, why);
      for (auto& one : told["left"].as_array()) left.push_back(one);
    }
    return {{"clean", !left_something_}, {"left", std::move(left)}};
  }

  void undo_everything(const std::string& why) {
    while (!running_.empty()) undo_and_tell(std::string(running_.begin()->first), why);
  }

  void leave(const std::string& why) {
    if (std::exchange(leaving_, true)) return;
    undo_everything(why);
    if (journal_ && !left_something_) journal_->remove();
    guardian_.reset();
    io_.stop();
  }

  SessionOptions options_;
  asio::io_context io_{1};
  asio::posix::stream_descriptor in_;
  asio::streambuf buffer_;
  int out_;
  asio::signal_set signals_;
  asio::steady_timer doses_, beats_, lease_;
  asio::posix::stream_descriptor guardian_watch_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Guardian> guardian_;
  std::map<std::string, std::unique_ptr<Running>> running_;
  std::optional<std::map<std::string, std::string>> snapshot_;
  std::string session_ = fresh_session(), run_;
  std::int64_t lease_ns_ = default_lease_ns;
  bool leaving_ = false, bye_ = false, deaf_ = false, left_something_ = false;
};

}  // namespace

int serve(const SessionOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  return Session{options}.run();
}

}  // namespace squall
