// The host's policy by the real injector: every key against every fault of the catalogue, whatever it is
// aimed by, and in every look that a fault has at its targets.
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "injector/faults/fault.hpp"
#include "tests/kernel/own_disk.hpp"
#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/sleeper.hpp"

namespace squall {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using test::InjectorProcess;
using test::Sleeper;
using test::WithoutFirstThread;
using testing::OwnCgroup;
using testing::OwnDisk;
using testing::OwnNetwork;
using testing::Use;

constexpr std::uint16_t port = 7341;
constexpr std::int64_t second = 1'000'000'000;

// Parameters that do for every fault, by the first example of its own.
json::object parameters_of(const FaultType& fault) {
  json::object out;
  std::istringstream words{fault.examples.front()};
  for (std::string word; words >> word && !word.starts_with("--");)
    if (const auto equals = word.find('='); equals != std::string::npos)
      out[word.substr(0, equals)] = word.substr(equals + 1);
  return out;
}

class PolicyOnHost : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (auto hierarchy = cgroup::io_hierarchy(); !hierarchy) GTEST_SKIP() << hierarchy.error();
    network.emplace();
  }
  std::string executable(const std::string& name) const { return (folder.path() / name).string(); }
  InjectorProcess& injector(const std::string& policy) {
    started.reset();
    started.emplace((folder.path() / "state").string(), folder.write("policy.yaml", policy).string());
    started->must({{"do", "hello"}, {"version", 1}, {"run", "policy"}});
    return *started;
  }
  static json::object request(const char* verb, const std::string& fault, json::object on, json::object with,
                              std::int64_t for_ns = second) {
    return {{"do", verb},
            {"step", "one"},
            {"fault", fault},
            {"on", std::move(on)},
            {"with", std::move(with)},
            {"for_ns", for_ns},
            {"seed", 1}};
  }
  // Refused by that rule, on each path there is.
  static void expect_refused(InjectorProcess& by, const std::string& fault, const json::object& on,
                             const json::object& with, const std::string& rule,
                             const std::vector<const char*>& verbs = {"plan", "prepare", "apply"}) {
    for (auto* verb : verbs) {
      const auto answer = by.ask(request(verb, fault, on, with));
      EXPECT_FALSE(answer.at("ok").as_bool()) << verb << " " << fault << " " << json::serialize(on);
      const auto text = json::serialize(answer);
      if (!answer.at("ok").as_bool())
        EXPECT_TRUE(answer.at("kind") == "refused" && text.find(rule) != std::string::npos)
            << verb << " " << fault << " " << json::serialize(on) << ": " << text;
      if (answer.at("ok").as_bool() && std::string_view{verb} == "apply") by.ask({{"do", "undo_all"}});
    }
  }

  test::TemporaryDirectory folder;
  std::optional<OwnNetwork> network;
  std::optional<InjectorProcess> started;
};

TEST_F(PolicyOnHost, protects_a_process_from_every_fault_however_it_is_aimed) {
  const OwnCgroup group{"p.service"};
  const Sleeper guarded{
      {.executable = executable("sqguarded"), .cgroup_folder = group.group().folder, .port = port}};
  const auto name = group.group().path.substr(1);
  const auto pidfile = folder.write("pid", std::to_string(guarded.pid())).string();
  auto& by = injector("protected_processes: [sqguarded]\n");
  const json::object aims{{"exe", "sqguarded"},   {"command", "^sqguarded 36"}, {"listens_on", port},
                          {"pid", guarded.pid()}, {"pidfile", pidfile},         {"unit", name},
                          {"cgroup", "/" + name}, {"container", name},          {"user", "root"}};
  for (auto* fault : fault_catalogue())
    for (auto& aim : fault->aims) {
      auto* value = aims.if_contains(aim);
      if (!value) continue;
      json::object on{{aim, *value}};
      if (fault->name == "network.down" || fault->name == "network.mtu") on["interface"] = "sqa";
      // All verbs ask in one place; once for each fault is enough.
      const bool first = &aim == &fault->aims.front() || aim == "pid";
      expect_refused(by, std::string(fault->name), on, parameters_of(*fault), "protected",
                     first ? std::vector{"plan", "prepare", "apply"} : std::vector{"plan"});
    }
}

TEST_F(PolicyOnHost, protects_an_interface_by_any_of_its_names_from_every_fault_on_what_passes_it) {
  testing::shell(
      "ip link property add dev sqa altname sqother && echo 40000 40100 > "
      "/proc/sys/net/ipv4/ip_local_port_range");
  const Sleeper server{{.executable = executable("sqserver"), .cgroup_folder = "", .port = port}};
  {
    auto& by = injector("protected_interfaces: [sqother]\n");
    for (auto* fault : fault_catalogue()) {
      if (!fault->name.starts_with("network.") && !fault->name.starts_with("tcp.") &&
          !fault->name.starts_with("http.") && !fault->name.starts_with("dns."))
        continue;
      const auto with = parameters_of(*fault);
      for (auto& aim : fault->aims) {
        const bool of_one = fault->name == "network.down" || fault->name == "network.mtu";
        const bool of_ports = fault->name == "network.occupy" || fault->name == "network.exhaust_ports";
        if (aim == "interface")
          expect_refused(by, std::string(fault->name), {{"interface", of_ports ? "any" : "sqa"}}, with,
                         "protected_interfaces");
        if (aim == "interface" && !of_one && !of_ports)
          expect_refused(by, std::string(fault->name), {{"interface", "any"}}, with, "protected_interfaces",
                         {"plan"});
        if (aim != "listens_on" || of_one) continue;
        auto here = with;
        here.erase("port");
        if (fault->name == "network.occupy") here["port"] = "7399";
        expect_refused(by, std::string(fault->name), {{"listens_on", port}}, here, "protected_interfaces");
      }
    }
  }
  auto& by = injector("protected_interfaces: [sqa]\n");
  expect_refused(by, "network.delay", {{"interface", "sqa"}}, {{"delay", "5ms"}}, "protected_interfaces");
  expect_refused(by, "tcp.latency", {{"listens_on", port}}, {{"latency", "5ms"}}, "protected_interfaces");
}

// Nobody comes there by the protected device.
TEST_F(PolicyOnHost, lets_a_listener_on_loopback_addresses_be_hit_beside_a_protected_interface) {
  Sleeper server{
      {.executable = executable("sqserver"), .cgroup_folder = "", .port = port, .on_loopback = true}};
  auto& by = injector("protected_interfaces: [sqa]\n");
  for (auto* fault : {"network.refuse", "tcp.latency", "http.delay"})
    EXPECT_TRUE(
        by.ask(request("plan", fault, {{"listens_on", port}},
                       fault == std::string_view{"network.refuse"}
                           ? json::object{}
                           : json::object{{fault == std::string_view{"tcp.latency"} ? "latency" : "delay",
                                           "5ms"}}))
            .at("ok")
            .as_bool())
        << fault;
  by.must(request("apply", "network.refuse", {{"listens_on", port}}, {}, 60 * second));
  // Until somebody listens there on all addresses.
  server.kill();
  const Sleeper another{{.executable = executable("sqserver"), .cgroup_folder = "", .port = port}};
  EXPECT_NE(json::serialize(by.wait_for_event("undone").at("why")).find("protected_interfaces"),
            std::string::npos);
}

TEST_F(PolicyOnHost, ends_a_fault_on_a_port_that_a_protected_process_has_by_now) {
  Sleeper server{{.executable = executable("sqserver"), .cgroup_folder = "", .port = port}};
  auto& by = injector("protected_processes: [sqguarded]\n");
  by.must(request("apply", "network.refuse", {{"listens_on", port}}, {}, 60 * second));
  server.kill();
  const Sleeper guarded{{.executable = executable("sqguarded"), .cgroup_folder = "", .port = port}};
  EXPECT_NE(json::serialize(by.wait_for_event("undone").at("why")).find("sqguarded"), std::string::npos);
}

// A VLAN's packets pass the device below it, and a bridge's its ports.
TEST_F(PolicyOnHost, protects_an_interface_from_faults_on_those_that_carry_its_packets) {
  testing::shell(
      "ip link add sqbr type bridge && ip link add sqport type veth peer name sqpeer && ip link set sqport "
      "master sqbr");
  try {
    testing::shell("ip link add sqvlan link sqa type vlan id 7");
    expect_refused(injector("protected_interfaces: [sqvlan]\n"), "network.delay", {{"interface", "sqa"}},
                   {{"delay", "5ms"}}, "sqvlan");
  } catch (const std::exception&) {
    // Not every kernel has VLANs.
  }
  expect_refused(injector("protected_interfaces: [sqport]\n"), "network.down", {{"interface", "sqbr"}}, {},
                 "sqport");
  expect_refused(injector("protected_interfaces: [sqbr]\n"), "network.down", {{"interface", "sqport"}}, {},
                 "sqbr");
  EXPECT_TRUE(injector("protected_interfaces: [sqa]\n")
                  .ask(request("plan", "network.mtu", {{"interface", "sqport"}}, {{"mtu", "1300"}}))
                  .at("ok")
                  .as_bool());
}

TEST_F(PolicyOnHost, bounds_every_fault_by_list_and_time) {
  for (auto* fault : fault_catalogue()) {
    const json::object on =
        fault->aims.empty() ? json::object{}
        : fault->aims.front() == "path"
            ? json::object{{"path", folder.path().string()}}
            : json::object{{fault->aims.front(), fault->aims.front() == "interface" ? "sqa" : "1"}};
    if (fault->name != "network.mtu")
      expect_refused(injector("faults: [network.mtu]\n"), std::string(fault->name), on, parameters_of(*fault),
                     "faults");
    expect_refused(injector("longest: 500ms\n"), std::string(fault->name), on, parameters_of(*fault),
                   "longest");
  }
}

TEST_F(PolicyOnHost, bounds_what_was_prepared_for_nobody_knew_how_long) {
  auto& by = injector("longest: 5s\n");
  auto prepare = request("prepare", "network.delay", {{"interface", "sqa"}}, {{"delay", "5ms"}});
  prepare.erase("for_ns");
  by.must(prepare);
  const auto refused = by.ask({{"do", "apply"}, {"step", "one"}, {"for_ns", 8 * second}});
  EXPECT_FALSE(refused.at("ok").as_bool());
  EXPECT_NE(json::serialize(refused).find("longest"), std::string::npos) << refused;
}

TEST_F(PolicyOnHost, bounds_an_act_that_goes_on_for_as_long_as_nobody_says) {
  const Sleeper victim{{.executable = executable("sqvictim"), .cgroup_folder = ""}};
  auto& by = injector("longest: 1s\n");
  by.must(request("apply", "process.kill", {{"exe", "sqvictim"}}, {{"every", "100ms"}}, 0));
  const auto undone = by.wait_for_event("undone");
  EXPECT_EQ(undone.at("why"), "its time was over");
  Sleeper later{{.executable = executable("sqvictim"), .cgroup_folder = ""}};
  std::this_thread::sleep_for(500ms);  // five times as long as the rhythm
  EXPECT_TRUE(later.alive());
}

// Whoever comes between two blows is looked at as those before the first.
TEST_F(PolicyOnHost, spares_the_protected_in_every_look_of_a_kill_that_repeats) {
  const std::string selector = "(sqvictim|sshd) 3611";
  Sleeper first{{.executable = executable("sqvictim"),
                 .cgroup_folder = "",
                 .port = 0,
                 .on_loopback = false,
                 .argument = "3611"}};
  auto& by = injector("protected_processes: [sqguarded]\n");
  by.must(request("apply", "process.kill", {{"command", selector}}, {{"every", "100ms"}, {"count", "all"}},
                  60 * second));
  Sleeper ssh{{.executable = executable("sshd"),
               .cgroup_folder = "",
               .port = 0,
               .on_loopback = false,
               .argument = "3611"}};
  const auto spared =
      by.wait_for([](auto& said) { return said.contains("what") && said.at("what") == "process.spared"; });
  EXPECT_EQ(spared.at("pid"), ssh.pid());
  Sleeper second_victim{{.executable = executable("sqvictim"),
                         .cgroup_folder = "",
                         .port = 0,
                         .on_loopback = false,
                         .argument = "3611"}};
  for (int i = 0; i < 500 && second_victim.alive(); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(second_victim.alive());
  EXPECT_TRUE(ssh.alive());
}

TEST_F(PolicyOnHost, spares_whom_a_pid_file_names_later) {
  const Sleeper first{{.executable = executable("sqvictim"), .cgroup_folder = ""}};
  Sleeper guarded{{.executable = executable("sqguarded"), .cgroup_folder = ""}};
  const auto pidfile = folder.write("pid", std::to_string(first.pid())).string();
  auto& by = injector("protected_processes: [sqguarded]\n");
  by.must(request("apply", "process.kill", {{"pidfile", pidfile}}, {{"every", "100ms"}}, 60 * second));
  folder.write("next", std::to_string(guarded.pid()));
  std::filesystem::rename(folder.path() / "next", pidfile);
  const auto spared =
      by.wait_for([](auto& said) { return said.contains("what") && said.at("what") == "process.spared"; });
  EXPECT_EQ(spared.at("pid"), guarded.pid());
  EXPECT_TRUE(guarded.alive());
}

class DiskPolicy : public PolicyOnHost {
 protected:
  void SetUp() override {
    PolicyOnHost::SetUp();
    if (IsSkipped()) return;
    disk = std::make_unique<OwnDisk>();
    group = std::make_unique<OwnCgroup>("a");
  }
  json::object slow() const { return {{"write_rate", "1MiB/s"}}; }
  std::unique_ptr<OwnDisk> disk;
  std::unique_ptr<OwnCgroup> group;
};

TEST_F(DiskPolicy, protects_a_path_from_faults_on_its_disk_however_they_are_aimed) {
  const testing::DiskWorker worker{*disk, *group, Use::synced_write, 4096, 20};
  auto& by = injector(fmt::format("protected_paths: [{}/not/yet/there]\n", disk->folder()));
  for (auto& on : {json::object{{"path", disk->folder()}}, json::object{{"device", disk->device()}},
                   json::object{{"pid", worker.pid()}}, json::object{{"cgroup", group->group().path}}})
    expect_refused(by, "disk.throttle", on, slow(), "protected_paths");
  EXPECT_TRUE(injector("protected_paths: [/proc]\n")
                  .ask(request("plan", "disk.throttle", {{"pid", worker.pid()}}, slow()))
                  .at("ok")
                  .as_bool());
}

TEST_F(DiskPolicy, protects_a_process_that_shares_the_cgroup) {
  const testing::DiskWorker worker{*disk, *group, Use::synced_write, 4096, 20};
  const Sleeper guarded{{.executable = executable("sqguarded"), .cgroup_folder = group->group().folder}};
  auto& by = injector("protected_processes: [sqguarded]\n");
  expect_refused(by, "disk.throttle", {{"pid", worker.pid()}}, slow(), "sqguarded");
  // Whoever else has files open there may be in a cgroup with others that are protected.
  expect_refused(by, "disk.throttle", {{"path", disk->folder()}}, slow(), "protected");
}

TEST_F(DiskPolicy, protects_a_process_whose_first_thread_has_ended) {
  const Sleeper target{{.executable = executable("sqtarget"), .cgroup_folder = group->group().folder}};
  const WithoutFirstThread guarded{group->group().folder};
  const auto exe = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto found = read_process(guarded.pid());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->exe, exe);
  expect_refused(injector(fmt::format("protected_processes: [{}]\n", exe)), "disk.throttle",
                 {{"pid", target.pid()}, {"path", disk->folder()}}, slow(),
                 fmt::format("[{}]", guarded.pid()));
}

// Who comes into the cgroup while the fault is in force ends it.
TEST_F(DiskPolicy, ends_a_fault_that_a_protected_process_comes_into) {
  const testing::DiskWorker worker{*disk, *group, Use::synced_write, 4096, 20};
  auto& by = injector("protected_processes: [sqguarded]\n");
  by.must(request("apply", "disk.throttle", {{"pid", worker.pid()}}, slow(), 60 * second));
  EXPECT_NE(group->write_limits(), "");
  const Sleeper guarded{{.executable = executable("sqguarded"), .cgroup_folder = group->group().folder}};
  const auto undone = by.wait_for_event("undone");
  EXPECT_NE(json::serialize(undone.at("why")).find("sqguarded"), std::string::npos) << undone;
  EXPECT_TRUE(undone.at("clean").as_bool());
  EXPECT_EQ(group->write_limits(), "");
}

TEST_F(PolicyOnHost, tells_which_of_its_names_protect_nothing) {
  started.emplace((folder.path() / "state").string(),
                  folder
                      .write("policy.yaml",
                             "protected_interfaces: [sqb7, sqa]\nprotected_processes: "
                             "[sqnobody]\nprotected_paths: [/not/there]\n")
                      .string());
  started->write("{\"id\":1,\"do\":\"hello\",\"version\":1}\n");
  std::string told;
  started->wait_for([&](auto& said) {
    if (said.contains("event")) told += json::serialize(said);
    return said.contains("id");
  });
  for (auto* name : {"sqb7", "sqnobody", "/not/there"})
    EXPECT_NE(told.find(name), std::string::npos) << told;
  EXPECT_EQ(told.find("\\\"sqa\\\" now"), std::string::npos) << told;
  EXPECT_EQ(started->must({{"do", "doctor"}}).at("policy").at("findings").as_array().size(), 3U);
}

}  // namespace
}  // namespace squall
