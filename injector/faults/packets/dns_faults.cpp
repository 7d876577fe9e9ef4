// dns.fail, dns.delay and dns.answer: what becomes of the answers of DNS servers, taken as they arrive.
#include <algorithm>
#include <atomic>
#include <cctype>
#include <random>

#include <arpa/inet.h>
#include <fnmatch.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/aim/network_aim.hpp"
#include "injector/faults/dose/share_dose.hpp"
#include "injector/faults/fault.hpp"
#include "injector/faults/packets/packets_by_queue.hpp"
#include "injector/host/connections/went_by.hpp"
#include "injector/host/packets/dns_message.hpp"
#include "injector/host/packets/packet_detour.hpp"

namespace squall {

namespace faults {

enum class DnsFailure { nxdomain, servfail, refused, timeout };

// One structure for all: each fault declares the parameters that it has.
struct DnsFault {
  std::vector<std::string> name, type, server;
  std::vector<std::uint16_t> port{53};
  Percent share{100};

  DnsFailure answer = DnsFailure::nxdomain;
  Duration delay, jitter{};
  std::vector<std::string> address;
  bool random = false;
  Duration ttl{};
};

}  // namespace faults

template <>
struct EnumNames<faults::DnsFailure> {
  using F = faults::DnsFailure;
  static constexpr std::array<std::pair<std::string_view, F>, 4> names{{{"nxdomain", F::nxdomain},
                                                                        {"servfail", F::servfail},
                                                                        {"refused", F::refused},
                                                                        {"timeout", F::timeout}}};
};

namespace faults {
namespace {

enum class Act { fail, delay, answer };

std::optional<dns::Address> address_of(const std::string& text) {
  dns::Address out;
  if (::inet_pton(AF_INET, text.c_str(), out.bytes.data()) == 1) return out;
  out.v6 = true;
  if (::inet_pton(AF_INET6, text.c_str(), out.bytes.data()) == 1) return out;
  return {};
}

// Why no name is like that; "" where one may be. Of a glob, what its wildcards stand for may be anything.
std::string no_name(std::string_view glob) {
  constexpr std::size_t longest_label = 63, longest_name = 253;  // RFC 1035, 2.3.4
  if (glob == ".") return "";
  if (glob.ends_with('.')) glob.remove_suffix(1);
  std::size_t name = 0, label = 0;
  bool empty = true;  // the label so far
  const auto end_of_label = [&] {
    return empty                   ? "a label in it is empty"
           : label > longest_label ? "a label in it has more than 63 characters"
                                   : "";
  };
  for (std::size_t i = 0; i < glob.size(); ++i) {
    const char c = glob[i];
    if (c == '.') {
      if (const std::string why = end_of_label(); !why.empty()) return why;
      empty = true;
      label = 0;
      ++name;
      continue;
    }
    empty = false;
    if (c == '*') continue;
    if (c == '[') {
      i = glob.find(']', i + 2);
      if (i == glob.npos) return "its [ has no ]";
    } else if (!std::isalnum(static_cast<unsigned char>(c)) &&
               std::string_view{"-_/?"}.find(c) == std::string_view::npos) {
      return static_cast<unsigned char>(c) < 0x80
                 ? fmt::format("no name has a \"{}\"", c)
                 : "other characters than ASCII are written in Punycode (xn--…)";
    }
    ++label;
    ++name;
  }
  if (const std::string why = end_of_label(); !why.empty()) return why;
  return name > longest_name ? "it has more than 253 characters" : "";
}

void check(const DnsFault& with, const Value& value, Diagnostics& diagnostics) {
  for (auto& name : with.name)
    if (const auto why = no_name(name); !why.empty())
      diagnostics.error(place_of(value, "name"),
                        fmt::format("expected a name such as db.example.org or *.example.org, got {}: {}",
                                    quote(name), why));
  for (auto& type : with.type)
    if (!dns::type_of(type))
      diagnostics.error(
          place_of(value, "type"),
          fmt::format("expected a record type such as A, AAAA, SRV or TYPE65, got \"{}\"", type));
  no_port_of_zero(with.port, value, diagnostics);
  for (auto& address : with.address)
    if (!address_of(address))
      diagnostics.error(place_of(value, "address"),
                        fmt::format("expected an IPv4 or IPv6 address, got \"{}\"", address));
}

Object<DnsFault> among(Object<DnsFault> own) {
  return std::move(own)
      .optional("name", &DnsFault::name,
                "only questions for names that one of these globs matches: *.example.org is all below it",
                "every name")
      .optional("type", &DnsFault::type, "only questions of these types: A, AAAA, SRV, TYPE65", "every type")
      .optional("share", &DnsFault::share, "of the answers that match, rolled for each by the seed", "100%")
      .optional("server", &DnsFault::server,
                "only answers of these servers: addresses, networks or host names, looked up once",
                "every server")
      .optional("port", &DnsFault::port, "where servers are asked", "53")
      .rule(check);
}

template <Act act>
const Object<DnsFault>& schema();

template <>
const Object<DnsFault>& schema<Act::fail>() {
  static const auto out = among(Object<DnsFault>{"names cannot be resolved"}.optional(
      "answer", &DnsFault::answer,
      "nxdomain: there is no such name; servfail: the server cannot say; refused: it will not; timeout: no "
      "answer comes",
      "nxdomain"));
  return out;
}
template <>
const Object<DnsFault>& schema<Act::delay>() {
  static const auto out =
      among(Object<DnsFault>{"answers come later"}
                .required("delay", &DnsFault::delay, "of each answer that is hit")
                .between(&DnsFault::delay, Duration{1'000'000}, Duration{600'000'000'000})
                .optional("jitter", &DnsFault::jitter, "so much more or less, uniformly", "0ms"));
  return out;
}
template <>
const Object<DnsFault>& schema<Act::answer>() {
  static const auto out =
      among(
          Object<DnsFault>{"names resolve to other addresses"}
              .optional(
                  "address", &DnsFault::address,
                  "IPv4 for A, IPv6 for AAAA; where only the other kind is given, the name has none of this",
                  "none: every such name exists, without addresses")
              .optional("random", &DnsFault::random,
                        "another address for each answer, of the networks kept for documentation (RFC 5737, "
                        "RFC 3849): nobody is there",
                        "false")
              .optional("ttl", &DnsFault::ttl, "how long whoever asked may remember it, in whole seconds",
                        "0s: not at all")
              .between(&DnsFault::ttl, Duration{0}, Duration{86'400'000'000'000}))
          .rule([](const DnsFault& with, const Value& value, Diagnostics& diagnostics) {
            if (with.random && !with.address.empty())
              diagnostics.error(place_of(value, "random"), "expected address or random, not both");
            if (with.ttl.ns % 1'000'000'000 != 0)
              diagnostics.error(place_of(value, "ttl"),
                                fmt::format("expected whole seconds, got {}", to_string(with.ttl)));
            for (auto& type : with.type)
              if (type != "A" && type != "AAAA")
                diagnostics.error(place_of(value, "type"),
                                  fmt::format("expected A or AAAA, which hold addresses, got {}", type));
          });
  return out;
}

// On the engine's thread; the counters are read from others.
class AnswerEditor : public PacketEditor {
 public:
  AnswerEditor(Act act, const DnsFault& with, std::uint64_t seed) : act_(act), with_(with), random_(seed) {
    for (auto& name : with_.name) {
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      if (name.size() > 1 && name.ends_with('.')) name.pop_back();
    }
    for (auto& type : with_.type)
      types_.push_back(*dns::type_of(type));
    // What else leads to addresses has to say that there is nothing, or it would give the real ones.
    if (act == Act::answer && types_.empty())
      for (auto* type : {"A", "AAAA", "ANY", "HTTPS", "SVCB"})
        types_.push_back(*dns::type_of(type));
    for (auto& address : with_.address)
      addresses_.push_back(*address_of(address));
  }

  Verdict look(std::span<const char> packet, double level, std::string& other) override {
    const auto answer = dns::AnswerPacket::read(packet);
    const bool counts = level >= 1;
    if (!answer) return Verdict::pass;
    answers_ += counts;
    if (!matches(answer->question())) {
      if (!matched_)
        went_by_.add(fmt::format("{} {}", answer->question().name.empty() ? "." : answer->question().name,
                                 dns::type_name(answer->question().type)));
      return Verdict::pass;
    }
    matched_ += counts;
    const auto share = with_.share.fraction() * (act_ == Act::delay ? 1 : level);
    if (static_cast<double>(random_() >> 11) * 0x1p-53 >= share) return Verdict::pass;
    hit_ += counts;
    if (act_ == Act::delay) return Verdict::delay;
    if (act_ == Act::fail && with_.answer == DnsFailure::timeout) return Verdict::drop;
    const auto code = act_ == Act::fail ? failure() : dns::Code::no_error;
    const auto instead = act_ == Act::fail ? std::vector<dns::Address>{} : addresses();
    unchanged_ += counts && answer->says(code, instead);
    other = answer->with(code, instead, static_cast<std::uint32_t>(with_.ttl.ns / 1'000'000'000));
    return Verdict::replace;
  }

  std::uint64_t answers() const { return answers_; }
  std::uint64_t matched() const { return matched_; }
  std::uint64_t hit() const { return hit_; }
  std::uint64_t unchanged() const { return unchanged_; }  // of them: they said so already
  const WentBy& went_by() const { return went_by_; }

 private:
  bool matches(const dns::Question& question) const {
    if (!types_.empty() && std::find(types_.begin(), types_.end(), question.type) == types_.end())
      return false;
    return with_.name.empty() || std::any_of(with_.name.begin(), with_.name.end(), [&](auto& glob) {
             return ::fnmatch(glob.c_str(), question.name.c_str(), 0) == 0;
           });
  }
  dns::Code failure() const {
    return with_.answer == DnsFailure::nxdomain   ? dns::Code::no_such_name
           : with_.answer == DnsFailure::servfail ? dns::Code::server_failure
                                                  : dns::Code::refused;
  }
  std::vector<dns::Address> addresses() {
    if (!with_.random) return addresses_;
    constexpr std::uint8_t networks[3][3] = {{192, 0, 2}, {198, 51, 100}, {203, 0, 113}};
    dns::Address v4, v6{.v6 = true, .bytes = {0x20, 0x01, 0x0d, 0xb8}};
    const auto dice = random_();
    std::copy_n(networks[dice % 3], 3, v4.bytes.begin());
    v4.bytes[3] = static_cast<std::uint8_t>(1 + (dice >> 8) % 254);
    for (std::size_t i = 8; i < 16; ++i)
      v6.bytes[i] = static_cast<std::uint8_t>(dice >> (8 * (i - 8)));
    return {v4, v6};
  }

  Act act_;
  DnsFault with_;
  std::mt19937_64 random_;
  std::vector<std::uint16_t> types_;
  std::vector<dns::Address> addresses_;
  std::atomic<std::uint64_t> answers_ = 0, matched_ = 0, hit_ = 0, unchanged_ = 0;
  WentBy went_by_;  // questions whose answers did not match, while none had
};

std::string_view word_for(Act act) {
  return act == Act::fail ? "failed" : act == Act::delay ? "delayed" : "changed";
}

class AnswersFault : public Fault {
 public:
  AnswersFault(Act act, const DnsFault& with, NetworkAim aim, PacketDetourPlan plan,
               std::shared_ptr<AnswerEditor> editor)
      : act_(act),
        with_(with),
        aim_(std::move(aim)),
        editor_(std::move(editor)),
        detour_(std::make_shared<PacketDetour>(std::move(plan))) {}

  std::string mechanism() const override { return queue_capability().mechanism; }
  std::vector<std::string> targets() const override { return aim_.targets; }
  Reach reach() const override { return aim_.reach(); }
  std::vector<std::string> claims() const override { return aim_.claims(); }
  std::vector<std::string> limits() const override {
    auto out = aim_.limits;
    out.emplace_back("answers by UDP are meant; those by TCP, TLS or HTTPS pass as they are");
    // A socket gets whole datagrams, a device what is on the wire.
    if (aim_.cgroups.empty())
      out.emplace_back(
          "answers so large that they arrive in fragments pass as they are, and are not counted");
    out.emplace_back(
        "what somebody remembers from before is not asked again, and what was answered may be remembered "
        "after the end");
    out.emplace_back("where no server answers, nothing can be changed: the answers are taken as they arrive");
    if (aim_.cgroups.empty() && !aim_.alone)
      out.emplace_back("whoever asks from this host is hit, Squall's own lookups among them");
    return out;
  }

  void apply(Transaction& transaction) override {
    enter_groups(transaction, aim_);
    detour::lead_packets(transaction, detour_, fmt::format("{}", fmt::join(aim_.targets, "; ")));
  }
  void set_level(double level) override { detour_->set_level(level_ = level); }
  bool keeps_packets() const override { return act_ == Act::delay; }
  void make_way(bool on) override { detour_->make_way(on); }
  void begin_letting_go() override { detour_->begin_letting_go(); }
  void finish_letting_go() override { detour_->finish_letting_go(); }

  void started() override {
    aim_.traffic->begin();
    aim_.watch->stands_on([this] { return gone_rules(detour_->lost_rules()); }, rules_every_ns);
    aim_.watch->begin();
  }
  void stopping() override {
    aim_.traffic->end();
    aim_.watch->end();
  }

  Dose measure() override {
    Dose out;
    if (act_ == Act::fail) out.prescribed["answer"] = enum_text(with_.answer);
    if (act_ == Act::delay) out.prescribed["delay_ms"] = with_.delay.milliseconds();
    out.measured["answers"] = editor_->answers();
    if (level_ < 1)
      out.reason = "still being ramped up";
    else if (!editor_->answers())
      out.reason = "no DNS server answered: nobody was hit";
    const auto packets = detour_->measure();
    const auto& held = packets.of(Way::in).at_full_level;
    const auto unchanged = editor_->unchanged();
    judge_share(out, with_.share,
                {editor_->matched(), editor_->hit(), editor_->hit() - unchanged, 0, unchanged}, "answers",
                word_for(act_));
    if (unchanged && unchanged == editor_->hit())
      out.reason =
          fmt::format("all of the {} answers that were hit said so already: nothing was changed", unchanged);
    if (level_ >= 1 && editor_->answers() && !editor_->matched())
      out.reason = fmt::format("none of the answers matched; asked were {}{}", editor_->went_by().to_string(),
                               search_list_hint());
    if (act_ == Act::delay && editor_->hit())
      judge_delay(out, with_.delay, with_.jitter, held.count(), held.quantile_ms(0.5));
    if (packets.lost * 200 > editor_->answers()) {
      out.measured["packets_lost"] = packets.lost;
      out = doubted(std::move(out),
                    fmt::format("{} packets were lost besides, which nobody asked for", packets.lost));
    }
    if (packets.overflowed) out.measured["packets_passed_unseen"] = packets.overflowed;
    return in_view_of(aim_, std::move(out), editor_->answers());
  }

  std::vector<FaultEvent> events() override { return aim_.watch->events(); }

 private:
  // Whoever asks for a short name asks the server for one with a domain behind it (resolv.conf(5), search).
  std::string search_list_hint() const {
    const auto asked = editor_->went_by().first();
    for (auto& name : with_.name)
      if (!name.ends_with('.') && asked.starts_with(name + "."))
        return fmt::format("; the search list appends a domain to \"{}\": name={} means what is asked", name,
                           asked.substr(0, asked.find(' ')));
    return "";
  }

  Act act_;
  DnsFault with_;
  NetworkAim aim_;
  std::shared_ptr<AnswerEditor> editor_;
  std::shared_ptr<PacketDetour> detour_;
  double level_ = 1;
};

template <Act act>
std::unique_ptr<Fault> prepare(const Value& value, const TargetSpec& on, const Setting& setting,
                               Diagnostics& diagnostics) {
  DnsFault with;
  if (!schema<act>().decode(value, with, diagnostics)) return nullptr;
  NetworkPackets packets;
  packets.direction = Direction::in;
  packets.to = with.server;
  packets.port = with.port;
  packets.protocol = PacketProtocol::udp;
  packets.allow_isolation = true;  // of the metadata address only its DNS is hit, and of ssh nothing
  auto aim = aim_at_network(packets, on, setting, diagnostics);
  if (!aim || !sees_what_arrives(*aim, diagnostics)) return nullptr;
  // The same questions by TCP, which pass.
  auto by_tcp = connections_of(*aim);
  by_tcp.made_here = true;
  by_tcp.match.protocol = PacketProtocol::tcp;
  aim->traffic = std::make_shared<TargetTraffic>(std::move(by_tcp));
  aim->traffic->counted_by = CountedBy::exchanges;
  aim->traffic->unit = "questions";
  aim->traffic->why_else = "by TCP";
  auto editor = std::make_shared<AnswerEditor>(act, with, setting.seed);
  PacketDetourPlan plan;
  plan.what.editor = editor;
  plan.what.delay.delay_ns = with.delay.ns;
  plan.what.delay.jitter_ns = with.jitter.ns;
  plan.what.delay.distribution = Distribution::uniform;
  plan.seed = setting.seed;
  plan.ways.all = Way::in;
  plan.prefix = plan.rules.table = own_name(setting);
  plan.rules.points = hold_points(*aim);
  plan.network_namespace = aim->network_namespace;
  plan.namespace_pid = aim->namespace_pid;
  return std::make_unique<AnswersFault>(act, with, std::move(*aim), std::move(plan), std::move(editor));
}

std::vector<Capability> doctor() {
  auto out = queue_capability();
  out.chosen = out.possible;
  out.measures = "the answers that arrived, and what became of each; not what was remembered from before";
  return {out};
}

const std::vector<std::string>& aims() {
  static const std::vector<std::string> out{"interface", "exe",    "command",   "pid", "pidfile",
                                            "unit",      "cgroup", "container", "user"};
  return out;
}

template <Act act>
FaultType declared(std::string_view name, std::string_view sentence, std::vector<std::string> examples) {
  return {.name = name,
          .sentence = sentence,
          .parameters = &schema<act>(),
          .aims = aims(),
          .lasting = true,
          .ramps = true,
          .undo = "the rules go, and answers pass as they are; those that wait go on at once",
          .examples = std::move(examples),
          .prepare = prepare<act>,
          .doctor = doctor};
}

}  // namespace

extern const FaultType dns_fail, dns_delay, dns_answer;
const FaultType dns_fail =
    declared<Act::fail>("dns.fail", "lets DNS lookups fail, as a broken server or a lapsed domain would",
                        {"name=*.example.org --on unit=playlist.service --for 1m",
                         "answer=timeout share=30% --on interface=any --for 30s"});
const FaultType dns_delay = declared<Act::delay>("dns.delay", "delays the answers of DNS servers",
                                                 {"delay=2s --on unit=playlist.service --for 1m"});
const FaultType dns_answer =
    declared<Act::answer>("dns.answer", "lets names resolve to other addresses, as a wrong record would",
                          {"address=192.0.2.1 name=db.example.org --on unit=playlist.service --for 1m",
                           "random=true --on interface=any --for 30s"});

}  // namespace faults
}  // namespace squall
