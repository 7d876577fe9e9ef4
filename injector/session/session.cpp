#include "injector/session/session.hpp"

#include <csignal>
#include <exception>
#include <set>

#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/signal_set.hpp>

#include "injector/faults/afterwards.hpp"
#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/snapshot/snapshot.hpp"
#include "injector/session/doctor.hpp"
#include "injector/session/in_force.hpp"
#include "injector/session/link.hpp"
#include "injector/session/neighbours.hpp"
#include "injector/session/protocol.hpp"
#include "injector/session/request.hpp"
#include "injector/session/safeguard.hpp"
#include "injector/session/touched.hpp"
#include "injector/system/descriptor_limit.hpp"
#include "injector/system/host_log.hpp"
#include "injector/system/host_text.hpp"
#include "injector/system/last_descriptors.hpp"
#include "injector/undo/host_sessions.hpp"
#include "injector/undo/journal.hpp"

namespace squall {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t longest_step = 200;   // the journal keeps room for it
constexpr std::size_t most_prepared = 256;  // each may hold devices, rules' sockets and 240 kB

std::string fresh_session() {
  std::uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<std::uint32_t>(monotonic_ns());
  return fmt::format("{:08x}", number);
}

std::string name_of_signal(int number) {
  return number == undo_signal ? undone_by_hand
         : number == SIGINT    ? "SIGINT"
         : number == SIGTERM   ? "SIGTERM"
                               : "SIGHUP";
}

std::string step_of(const json::object& request) {
  const auto step = text_of(request, "step");
  const bool plain = std::none_of(step.begin(), step.end(), [](unsigned char c) { return c < ' '; });
  if (step.empty() || step.size() > longest_step || !plain)
    throw Refused{"input", fmt::format("expected \"step\" to be a name of 1 to {} bytes", longest_step)};
  return step;
}

// One caller, from its hello to its end.
class Session {
 public:
  explicit Session(const SessionOptions& options)
      : policy_(options.policy),
        state_(options.state),
        link_(io_, options.in, options.out),
        signals_(io_),
        safeguard_(io_, options.state, name_,
                   [this] { in_force_.undo_all("the guardian died and no other could be started", true); }),
        in_force_({io_, safeguard_, options.state, name_, [this](auto& line) { link_.send(line); },
                   [this](auto& line) { link_.tell(line); },
                   [this](auto& fault) { return policy_.refuses(fault.reach()); },
                   [this](auto& fault, auto& changes) { touched_.add(fault, changes); }}) {}

  int run() {
    // Timers to the nanosecond: prctl(2), PR_SET_TIMERSLACK.
    ::prctl(PR_SET_TIMERSLACK, 1);
    in_force_.lease(default_lease_ns);
    for (int number : {SIGINT, SIGTERM, SIGHUP, undo_signal})
      signals_.add(number);
    signals_.async_wait([this](auto error, int number) {
      if (!error) leave_by_itself(name_of_signal(number));
    });
    link_.listen([this](auto line) { take(line); }, [this](auto why) { leave(why); });
    while (!run_until_done()) {
    }
    return in_force_.clean() ? 0 : 6;
  }

 private:
  // A fault that throws out of its own handler must not leave the others in force.
  bool run_until_done() {
    try {
      io_.run();
      return true;
    } catch (const std::exception& e) {
      link_.send({{"event", "log"}, {"level", "error"}, {"text", e.what()}});
      leave_by_itself("an error of the injector");
      return false;
    }
  }

  void take(std::string_view line) {
    json::error_code bad;
    const auto value = json::parse({line.data(), line.size()}, bad);
    if (bad || !value.is_object())
      return link_.send({{"id", id_in(line)},
                         {"ok", false},
                         {"kind", "input"},
                         {"error", "expected one JSON object a line"}});
    const auto& request = value.get_object();
    auto* id = request.if_contains("id");
    json::object reply;
    try {
      reply = answer(request);
      reply["ok"] = true;
    } catch (const Refused& refused) {
      reply = {{"ok", false}, {"kind", refused.kind}, {"error", refused.text}};
    } catch (const std::exception& e) {
      reply = {{"ok", false}, {"kind", "failed"}, {"error", e.what()}};
    }
    reply["id"] = id ? *id : json::value{};
    link_.send(reply);
    if (bye_) leave("bye");
  }

  json::object answer(const json::object& request) {
    const auto received = monotonic_ns();
    const auto verb = text_of(request, "do");
    in_force_.renew();
    if (verb == "apply") return apply(request, received);
    if (verb == "undo") return in_force_.undo(text_of(request, "step"));
    if (verb == "probes") return probes(request);
    if (verb == "dose") return {{"dose", in_force_.dose(text_of(request, "step"))}};
    if (verb == "renew") return {{"clock", wall_ns()}};
    if (verb == "undo_all") return in_force_.undo_all("asked", false);
    if (verb == "bye") {
      bye_ = true;
      return bye();
    }
    return answer_at_leisure(verb, request);
  }

  // What changes nothing and may take its time.
  json::object answer_at_leisure(const std::string& verb, const json::object& request) {
    const Pause pause{*this};
    if (verb == "hello") return hello(request);
    if (verb == "doctor") return {{"faults", doctor_json(examine_host())}, {"policy", policy_json(policy_)}};
    if (verb == "plan") return plan(request);
    if (verb == "prepare") return prepare(request);
    if (verb == "resolve") return resolve(request);
    if (verb == "diff") return diff();
    if (verb != "snapshot") throw Refused{"input", fmt::format("unknown request \"{}\"", verb)};
    snapshot_ = snapshot_host();
    note_others();
    neighbours_.watch();
    return {};
  }

  // The guardian is told not to take the time that something needs for a hang.
  struct Pause {
    explicit Pause(Session& session) : of(session) {
      of.safeguard_.expect_a_pause();
      of.in_force_.look();
    }
    ~Pause() {
      of.in_force_.looked();
      if (!of.in_force_.empty()) of.safeguard_.hold(true);
    }
    Session& of;
  };

  json::object hello(const json::object& request) {
    welcome_ = false;
    if (auto version = number_of(request, "version", protocol_version); version != protocol_version)
      throw Refused{"refused", fmt::format("this injector speaks version {} of the protocol, got version {}",
                                           protocol_version, version)};
    if (auto rule = policy_.refuses_environment(text_of(request, "environment")); !rule.empty())
      throw Refused{"refused", rule};
    run_ = text_of(request, "run");
    in_force_.lease(number_of(request, "lease_ns", default_lease_ns));
    // Started before it is needed, so that no apply has to wait for it; a caller that only plans has no run.
    if (!run_.empty()) arm();
    utsname kernel{};
    ::uname(&kernel);
    welcome_ = true;
    log_line(run_.empty() ? LogLevel::debug : LogLevel::info,
             fmt::format("session {}: begins, for the run \"{}\" of uid {}", name_, run_, caller()));
    for (auto& finding : policy_.findings()) {
      link_.send({{"event", "log"}, {"level", "warning"}, {"text", "the host's policy: " + finding}});
      if (!run_.empty()) log_line(LogLevel::warning, finding);
    }
    return {{"version", protocol_version},    {"host", kernel.nodename}, {"boot_id", boot_id()},
            {"kernel", kernel.release},       {"pid", ::getpid()},       {"session", name_},
            {"capabilities", capabilities()}, {"clock", wall_ns()}};
  }

  // Who asked sudo(8) for us, where somebody did.
  static std::string caller() {
    const char* by_sudo = ::getenv("SUDO_UID");
    return by_sudo ? by_sudo : std::to_string(::getuid());
  }

  static json::array capabilities() {
    json::array out{"doctor", "plan", "resolve", "snapshot"};
    if (::geteuid() == 0) out.emplace_back("apply");
    return out;
  }

  void arm() {
    if (::geteuid() != 0)
      throw Refused{"refused",
                    "changing a host needs root: run squall as root, or allow \"sudo -n squall-injector\""};
    safeguard_.arm();
  }

  json::object plan(const json::object& request) {
    const auto prepared = prepare_fault(request, policy_, name_, nullptr);
    auto& fault = *prepared.fault;
    Transaction transaction;
    fault.apply(transaction);
    json::array changes;
    for (auto& change : transaction.changes())
      changes.push_back(json::object{{"do", change.what}, {"undo", undo_text(change)}});
    auto out = told_of(fault);
    out["changes"] = std::move(changes);
    return out;
  }

  static json::object told_of(Fault& fault) {
    return {{"mechanism", fault.mechanism()},
            {"targets", json_texts(fault.targets())},
            {"claims", json_texts(fault.claims())},
            {"limits", json_texts(fault.limits())}};
  }

  // Names, addresses and processes are looked up ahead, so that the apply that follows acts at once, on many
  // hosts at the same moment.
  json::object prepare(const json::object& request) {
    must_be_welcome();
    const auto step = step_of(request);
    if (!prepared_.contains(step) && prepared_.size() >= most_prepared)
      throw Refused{"refused", fmt::format("{} steps are prepared already, which is as many as an injector "
                                           "keeps: apply some of them first, or apply without preparing",
                                           most_prepared)};
    prepared_.erase(step);
    auto& kept = prepared_[step] = prepare_fault(request, policy_, name_, &io_);
    return told_of(*kept.fault);
  }

  // Whoever asks for another version or another environment is no caller of this host, nor is who does not
  // say.
  void must_be_welcome() const {
    if (!welcome_) throw Refused{"refused", "nothing is done to this host before a hello that it agrees to"};
  }

  PreparedFault prepared_for(const json::object& request, const std::string& step) {
    if (request.contains("fault")) {
      const Pause pause{*this};
      return prepare_fault(request, policy_, name_, &io_);
    }
    auto found = prepared_.extract(step);
    if (!found)
      throw Refused{"input",
                    fmt::format("missing \"fault\": nothing was prepared for the step \"{}\"", step)};
    return std::move(found.mapped());
  }

  json::object probes(const json::object& request) {
    constexpr std::size_t most = 10'000;
    std::vector<Endpoint> ends;
    if (auto* list = request.if_contains("ends"); list && list->is_array())
      for (auto& one : list->get_array())
        if (auto end = one.is_string() ? parse_endpoint_of(one.get_string()) : std::nullopt;
            end && ends.size() < most)
          ends.push_back(*end);
    in_force_.note_probes(text_of(request, "step"), text_of(request, "service"), ends);
    return {};
  }

  static json::object resolve(const json::object& request) {
    const auto found = find_processes(target_of(request));
    if (!found) throw Refused{"absent", found.error()};
    const auto booted = wall_ns() - boottime_ns();
    json::array out;
    for (auto& process : *found)
      out.push_back(json::object{{"pid", process.pid},
                                 {"exe", printable(process.exe)},
                                 {"command", printable(process.command)},
                                 {"cgroup", printable(process.cgroup)},
                                 {"started_at", booted + boot_ns_of(process.start_ticks)}});
    return {{"processes", std::move(out)}};
  }

  // In the end the host is compared, when nothing of ours is left that others use.
  json::object bye() { return farewell("bye", false); }

  json::object farewell(const std::string& why, bool say) {
    auto out = in_force_.undo_all(why, say);
    out["ended"] = json_texts(end_afterwards());
    if (!snapshot_) return out;
    note_others();
    const auto looked_at = [this](HostState state) {
      return without(without_other_sessions(std::move(state), name_), policy_.ignored_changes);
    };
    const auto [before, now, others] = touched_.compare(looked_at(*snapshot_), looked_at(snapshot_host()));
    auto found = differences(before, now);
    out["meanwhile"] = json_texts(others);
    out["see"] = json_texts(commands_that_show_differences(before, now));
    out["clean"] = out.at("clean").as_bool() && found.empty();
    if (!found.empty()) found.insert(found.end(), others_.begin(), others_.end());
    out["differences"] = json_texts(found);
    return out;
  }

  // Who else changes this host on purpose: what differs may be theirs.
  void note_others() {
    for (auto& journal : read_host_journals(state_, name_))
      for (auto& fault : journal.faults)
        others_.insert(fmt::format(
            "meanwhile \"{}\" ({}) of {} was in force here, whose doing this may be", fault.step, fault.fault,
            fault.run.empty() ? "another session" : fmt::format("the run \"{}\"", fault.run)));
  }

  json::object diff() {
    if (!snapshot_) throw Refused{"input", "there is no snapshot to compare with"};
    const auto found = differences(*snapshot_, snapshot_host());
    return {{"clean", found.empty()}, {"differences", json_texts(found)}};
  }

  json::object apply(const json::object& request, std::int64_t received) {
    must_be_welcome();
    Order order{.step = step_of(request), .run = run_};
    order.received = received;
    order.for_ns = number_of(request, "for_ns", 0);
    order.ramp_up_ns = number_of(request, "ramp_up_ns", 0);
    auto prepared = prepared_for(request, order.step);
    order.type = prepared.type;
    if (order.for_ns == 0 && order.type->lasting)
      throw Refused{"input", fmt::format("missing \"for_ns\": how long {} is to last", order.type->name)};
    if (order.ramp_up_ns > 0 && !order.type->ramps)
      throw Refused{"input", fmt::format("{} cannot be ramped up", order.type->name)};
    // It may have been prepared long ago, and for nobody knew how long.
    ask_policy(policy_, prepared, order.for_ns);
    if (order.for_ns == 0) order.for_ns = policy_.longest.ns;
    order.fault = std::move(prepared.fault);
    arm();
    return in_force_.apply(std::move(order));
  }

  // The caller did not ask for it: it is told why, and what it would have asked.
  void leave_by_itself(const std::string& why) {
    if (leaving_) return;
    link_.send({{"event", "leaving"}, {"at", wall_ns()}, {"why", why}});
    auto last_word = farewell(why, true);
    last_word["event"] = "left";
    link_.send(last_word);
    leave(why);
  }

  void leave(const std::string& why) {
    if (std::exchange(leaving_, true)) return;
    link_.close();
    in_force_.undo_all(why, true);
    end_afterwards();
    log_line(run_.empty() ? LogLevel::debug : LogLevel::info,
             fmt::format("session {}: ends: {}", name_, why));
    safeguard_.end(in_force_.clean());
    io_.stop();
  }

  const Policy policy_;
  const std::string state_;
  const std::string name_ = fresh_session();
  std::string run_;
  asio::io_context io_{1};
  CallerLink link_;
  asio::signal_set signals_;
  Safeguard safeguard_;
  InForce in_force_;
  std::optional<HostState> snapshot_;
  std::set<std::string> others_;
  Neighbours neighbours_{io_, state_, name_, [this](auto& line) { link_.send(line); }};
  Touched touched_{name_};
  std::map<std::string, PreparedFault> prepared_;
  bool leaving_ = false, bye_ = false, welcome_ = false;
};

}  // namespace

int serve(const SessionOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  keep_last_descriptors();
  raise_descriptor_limit();
  return Session{options}.run();
}

}  // namespace squall
