#include "controller/plan/topology.hpp"

#include <set>

#include <gtest/gtest.h>

#include "controller/plan/planner.hpp"
#include "controller/plan/vocabulary.hpp"

namespace squall {
namespace {

using Deaf = std::map<std::string, std::vector<std::string>>;

std::vector<std::string> names(std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(fmt::format("n{:02}", i));
  return out;
}

std::set<std::string> heard_by(const std::string& host, const std::vector<std::string>& hosts,
                               const Deaf& deaf) {
  std::set<std::string> out{hosts.begin(), hosts.end()};
  if (auto found = deaf.find(host); found != deaf.end())
    for (auto& other : found->second)
      out.erase(other);
  return out;
}

bool loses(const Deaf& deaf, const std::string& host, const std::string& other) {
  auto found = deaf.find(host);
  return found != deaf.end() &&
         std::find(found->second.begin(), found->second.end(), other) != found->second.end();
}

void expect_mutual(const std::vector<std::string>& hosts, const Deaf& deaf) {
  for (auto& a : hosts)
    for (auto& b : hosts)
      EXPECT_EQ(loses(deaf, a, b), loses(deaf, b, a)) << a << " and " << b << " of " << hosts.size();
}

void for_some(std::size_t least,
              const std::function<void(const std::vector<std::string>&, std::uint64_t)>& look) {
  for (std::size_t count = least; count <= 12; ++count)
    for (std::uint64_t seed = 1; seed <= 20; ++seed)
      look(names(count), seed);
}

TEST(Topology, isolate_one_leaves_one_host_alone) {
  for_some(2, [](auto& hosts, auto seed) {
    const auto deaf = cannot_hear(Topology::isolate_one, hosts, seed);
    expect_mutual(hosts, deaf);
    std::size_t alone = 0;
    for (auto& host : hosts) {
      const auto heard = heard_by(host, hosts, deaf).size();
      if (heard == 1) ++alone;
      if (hosts.size() > 2) EXPECT_TRUE(heard == 1 || heard == hosts.size() - 1) << host;
    }
    EXPECT_EQ(alone, hosts.size() > 2 ? 1U : 2U);
  });
}

TEST(Topology, halves_hear_themselves_and_nobody_else) {
  for_some(2, [](auto& hosts, auto seed) {
    const auto deaf = cannot_hear(Topology::halves, hosts, seed);
    expect_mutual(hosts, deaf);
    std::set<std::set<std::string>> halves;
    for (auto& host : hosts)
      halves.insert(heard_by(host, hosts, deaf));
    ASSERT_EQ(halves.size(), 2U);
    const auto one = halves.begin()->size(), other = halves.rbegin()->size();
    EXPECT_EQ(one + other, hosts.size());
    EXPECT_EQ(std::max(one, other), (hosts.size() + 1) / 2);
  });
}

TEST(Topology, in_a_ring_every_host_hears_a_majority_of_its_own) {
  for_some(4, [](auto& hosts, auto seed) {
    const auto deaf = cannot_hear(Topology::majority_ring, hosts, seed);
    expect_mutual(hosts, deaf);
    std::set<std::set<std::string>> majorities;
    for (auto& host : hosts) {
      const auto heard = heard_by(host, hosts, deaf);
      EXPECT_GT(2 * heard.size(), hosts.size());
      EXPECT_LT(heard.size(), hosts.size()) << "somebody is to be lost";
      majorities.insert(heard);
    }
    EXPECT_EQ(majorities.size(), hosts.size()) << "no two the same";
  });
}

TEST(Topology, one_way_one_host_is_heard_by_nobody_and_hears_all) {
  for_some(2, [](auto& hosts, auto seed) {
    const auto deaf = cannot_hear(Topology::one_way, hosts, seed);
    EXPECT_EQ(deaf.size(), hosts.size() - 1);
    std::set<std::string> unheard;
    for (auto& [host, lost] : deaf) {
      ASSERT_EQ(lost.size(), 1U);
      unheard.insert(lost.front());
    }
    ASSERT_EQ(unheard.size(), 1U);
    EXPECT_FALSE(deaf.contains(*unheard.begin()));
  });
}

TEST(Topology, the_seed_alone_decides_who) {
  for (auto& [text, topology] : EnumNames<Topology>::names) {
    std::set<Deaf> seen;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      EXPECT_EQ(cannot_hear(topology, names(5), seed), cannot_hear(topology, names(5), seed)) << text;
      seen.insert(cannot_hear(topology, names(5), seed));
    }
    EXPECT_GE(seen.size(), 4U) << text;
  }
}

TEST(PeerAddresses, are_declared_or_those_of_the_ssh_destination) {
  const auto of = [](std::string address, std::vector<std::string> declared = {}) {
    HostSpec host;
    host.link = HostSpec::Link::ssh;
    host.address = std::move(address);
    host.addresses = std::move(declared);
    return peer_addresses(host);
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(of("root@10.0.0.7"), Texts{"10.0.0.7"});
  EXPECT_EQ(of("fd00::7"), Texts{"fd00::7"});
  EXPECT_EQ(of("ssh://ops@10.0.0.7:2222"), Texts{"10.0.0.7"});
  EXPECT_EQ(of("ssh://ops@[fd00::7]:2222"), Texts{"fd00::7"});
  EXPECT_EQ(of("ops@db1.staging"), Texts{});
  EXPECT_EQ(of("root@10.0.0.7", {"192.0.2.1", "fd00::7"}), (Texts{"192.0.2.1", "fd00::7"}));
  EXPECT_EQ(peer_addresses(HostSpec{}), Texts{});
}

// A whole file, as `squall check` and `squall plan` read it.
struct Read {
  Plan plan;
  std::string said;
};

Read read(const std::string& with, const std::string& hosts, const std::string& on = "{interface: any}",
          std::uint64_t seed = 7) {
  const auto text = fmt::format(R"(scenario: parted
title: The hosts are parted
squad: storage
blast_radius: {{hosts: 9}}
hosts:
{}services:
  storage: {{probes: [{{tcp: "127.0.0.1:1"}}]}}
method:
  - {{name: parted, fault: network.partition, on: {}, with: {}, for: 30s}}
expect:
  - {{service: storage, availability: ">= 1%"}}
)",
                                hosts, on, with);
  Diagnostics wrong{"drill.yaml", text};
  // The plan refers to the scenario's steps.
  static std::vector<std::unique_ptr<Scenario>> kept;
  kept.push_back(std::make_unique<Scenario>(read_scenario(text, {}, catalogue_vocabulary(), wrong)));
  Read out;
  if (wrong.ok()) out.plan = make_plan(*kept.back(), seed, wrong);
  out.said = wrong.render();
  return out;
}

const std::string three =
    "  a: {link: ssh, address: root@10.0.0.1}\n  b: {addresses: [10.0.0.2, \"fd00::2\"]}\n  c: {addresses: "
    "10.0.0.3}\n";

TEST(PlannedTopology, each_host_gets_the_addresses_that_it_cannot_hear) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const auto [plan, said] = read("{topology: one_way, mode: drop}", three, "{interface: any}", seed);
    ASSERT_EQ(said, "");
    ASSERT_EQ(plan.faults.size(), 2U);
    for (auto& fault : plan.faults) {
      ASSERT_EQ(fault.cannot_hear.size(), 1U);
      const auto& other = fault.cannot_hear.front();
      EXPECT_EQ(fault.deafness(), fmt::format("{} cannot hear {}", fault.host, other));
      const auto with = boost::json::serialize(to_json(fault.with));
      const auto* addresses = other == "a"   ? R"(["10.0.0.1"])"
                              : other == "b" ? R"(["10.0.0.2","fd00::2"])"
                                             : R"(["10.0.0.3"])";
      EXPECT_EQ(with, fmt::format(R"({{"mode":"drop","to":{},"direction":"in"}})", addresses));
    }
  }
}

TEST(PlannedTopology, only_the_hosts_of_the_step_are_parted) {
  const auto [plan, said] = read("{topology: halves}", three, "{interface: any, pick: 2}");
  ASSERT_EQ(said, "");
  ASSERT_EQ(plan.faults.size(), 2U);
  EXPECT_EQ(plan.faults[0].cannot_hear, std::vector{plan.faults[1].host});
  EXPECT_EQ(plan.faults[1].cannot_hear, std::vector{plan.faults[0].host});
}

TEST(PlannedTopology, what_cannot_be_parted_is_told_with_its_place) {
  const auto said_first = [](const std::string& with, const std::string& hosts,
                             const std::string& on = "{interface: any}") {
    const auto said = read(with, hosts, on).said;
    return said.substr(0, said.find('\n'));
  };
  EXPECT_EQ(said_first("{topology: halves}", three, "{interface: any, host: a}"),
            "drill.yaml:12:94: error: halves needs at least 2 hosts, step \"parted\" means 1");
  EXPECT_EQ(said_first("{topology: majority_ring}", three),
            "drill.yaml:12:85: error: majority_ring needs at least 4 hosts (of fewer, whoever hears a "
            "majority on either side hears everybody), step \"parted\" means 3");
  EXPECT_EQ(
      said_first("{topology: halfs}", three),
      "drill.yaml:12:85: error: expected one of isolate_one, halves, majority_ring, one_way, got \"halfs\"");
  EXPECT_EQ(said_first("{topology: halves, to: 10.0.0.1}", three),
            "drill.yaml:12:97: error: expected no to beside topology: it follows from who cannot hear whom");
  EXPECT_EQ(said_first("{topology: halves, direction: out}", three),
            "drill.yaml:12:104: error: expected no direction beside topology: it follows from who cannot "
            "hear whom");
  EXPECT_EQ(said_first("{topology: halves}",
                       "  a: {addresses: 10.0.0.1}\n  b: {link: ssh, address: ops@b.staging}\n  c: {}\n"),
            "drill.yaml:12:85: error: the addresses by which its peers know the host \"b\" are not known: "
            "add addresses: to it, such as b: {addresses: [10.0.0.7]}");
  EXPECT_EQ(
      said_first(
          "{topology: halves}",
          "  a: {addresses: \"fd88::2\"}\n  b: {addresses: \"fd88:0:0:0::2\"}\n  c: {addresses: 10.0.0.3}\n"),
      "drill.yaml:12:85: error: the hosts \"a\" and \"b\" have the same address fd88::2: who cannot be heard "
      "could not be told");
  EXPECT_EQ(
      said_first("{topology: halves}",
                 "  a: {addresses: 10.0.0.1}\n  b: {addresses: 10.0.0.1}\n  c: {addresses: 10.0.0.3}\n"),
      "drill.yaml:12:85: error: the hosts \"a\" and \"b\" have the same address 10.0.0.1: who cannot be "
      "heard could not be told");
}

}  // namespace
}  // namespace squall
