// The injector's door: who is served, how much is taken, and what cannot be read is answered.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/support/injector_process.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/sleeper.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace json = boost::json;

class Door : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    network.emplace();
    injector.emplace((folder.path() / "state").string(),
                     folder.write("policy.yaml", "environment: production\n").string());
  }
  static json::object slow(const char* verb, const std::string& step) {
    return {{"do", verb},
            {"step", step},
            {"fault", "network.delay"},
            {"on", {{"interface", "sqa"}}},
            {"with", {{"delay", "50ms"}}},
            {"for_ns", 60'000'000'000},
            {"seed", 1}};
  }
  json::object hello(const std::string& environment, int version = 1) {
    return injector->ask(
        {{"do", "hello"}, {"version", version}, {"run", "door"}, {"environment", environment}});
  }
  // Nothing is prepared or applied, and it is said why.
  void expect_closed() {
    for (auto* verb : {"prepare", "apply"}) {
      const auto answer = injector->ask(slow(verb, "one"));
      EXPECT_FALSE(answer.at("ok").as_bool()) << verb;
      EXPECT_EQ(answer.at("kind"), "refused") << answer;
    }
  }

  TemporaryDirectory folder;
  std::optional<squall::testing::OwnNetwork> network;
  std::optional<InjectorProcess> injector;
};

TEST_F(Door, is_open_after_an_accepted_hello_alone) {
  expect_closed();
  EXPECT_FALSE(hello("staging").at("ok").as_bool());
  expect_closed();
  EXPECT_FALSE(hello("production", 99).at("ok").as_bool());
  expect_closed();
  EXPECT_TRUE(hello("production").at("ok").as_bool());
  EXPECT_TRUE(injector->ask(slow("prepare", "one")).at("ok").as_bool());
  EXPECT_FALSE(hello("staging").at("ok").as_bool());
  EXPECT_FALSE(
      injector->ask({{"do", "apply"}, {"step", "one"}, {"for_ns", 1'000'000'000}}).at("ok").as_bool());
}

TEST_F(Door, takes_so_many_prepared_steps_and_no_more) {
  hello("production");
  const Sleeper victim{{.executable = (folder.path() / "sqvictim").string(), .cgroup_folder = ""}};
  const auto prepare = [&](std::size_t step) {
    return injector->ask({{"do", "prepare"},
                          {"step", fmt::format("step {}", step)},
                          {"fault", "process.kill"},
                          {"on", {{"pid", victim.pid()}}},
                          {"with", json::object{}}});
  };
  std::size_t taken = 0;
  json::object answer;
  while (taken < 1000 && (answer = prepare(taken)).at("ok").as_bool())
    ++taken;
  EXPECT_EQ(taken, 256U);
  EXPECT_EQ(answer.at("kind"), "refused");
  // One that is there already may be prepared anew, and one that is applied makes room.
  EXPECT_TRUE(prepare(0).at("ok").as_bool());
  injector->must({{"do", "apply"}, {"step", "step 0"}, {"for_ns", 60'000'000'000}});
  EXPECT_TRUE(injector->ask(slow("prepare", "another")).at("ok").as_bool());
}

TEST_F(Door, answers_a_line_that_is_too_long_and_goes_on) {
  hello("production");
  injector->must(slow("apply", "one"));
  injector->write(R"({"id":4711,"do":"renew","more":")" + std::string(5 << 20, 'x') + "\"}\n");
  const auto answer = injector->wait_for([](auto& said) { return said.contains("ok"); });
  EXPECT_EQ(answer.at("id"), 4711);
  EXPECT_EQ(answer.at("kind"), "input");
  EXPECT_NE(json::serialize(answer.at("error")).find("2 MiB"), std::string::npos);
  // Where callers put it last.
  injector->write(R"({"do":"renew","more":")" + std::string(3 << 20, 'x') + "\",\"id\":4712}\n");
  EXPECT_EQ(injector->wait_for([](auto& said) { return said.contains("ok"); }).at("id"), 4712);
  EXPECT_TRUE(injector->must({{"do", "undo"}, {"step", "one"}}).at("clean").as_bool());
}

TEST_F(Door, answers_what_is_no_utf8) {
  injector->write("{\"id\":4711,\"do\":\"hello\",\"run\":\"\xff\"}\n");
  const auto answer = injector->wait_for([](auto& said) { return said.contains("ok"); });
  EXPECT_EQ(answer.at("id"), 4711);
  EXPECT_EQ(answer.at("kind"), "input");
}

// In its name, its command line and the name of its cgroup: every path on which a process is spoken of.
TEST_F(Door, speaks_of_a_process_whose_name_is_no_utf8) {
  hello("production");
  const squall::testing::OwnGroup group{"sq\xff"};
  const Sleeper odd{{.executable = (folder.path() / "sq\xc3gr\xfc").string(), .cgroup_folder = group.folder}};
  const json::object on{{"pid", odd.pid()}};
  const auto resolved = json::serialize(injector->must({{"do", "resolve"}, {"on", on}}));
  EXPECT_NE(resolved.find("sq\\\\xc3gr\\\\xfc"), std::string::npos) << resolved;
  EXPECT_NE(resolved.find("sq\\\\xff"), std::string::npos) << resolved;
  for (auto* fault : {"network.delay", "process.kill"}) {
    const json::object with =
        fault == std::string_view{"network.delay"} ? json::object{{"delay", "5ms"}} : json::object{};
    const auto answer =
        injector->ask({{"do", "plan"}, {"step", "odd"}, {"fault", fault}, {"on", on}, {"with", with}});
    EXPECT_TRUE(answer.at("ok").as_bool()) << answer;
  }
  injector->must({{"do", "apply"},
                  {"step", "odd"},
                  {"fault", "network.delay"},
                  {"on", on},
                  {"with", {{"delay", "5ms"}}},
                  {"for_ns", 60'000'000'000}});
  injector->must({{"do", "dose"}, {"step", "odd"}});
  const auto status = run({bin_dir() + "/squall-injector", "status", "--state",
                           (folder.path() / "state").string(), "--output", "json"});
  EXPECT_NO_THROW((void)json::parse(status)) << status;
  // The journal finds the place again, by bytes.
  ::kill(injector->pid(), SIGKILL);
  injector->end();
  EXPECT_EQ(json::parse(run({bin_dir() + "/squall-injector", "recover", "--state",
                             (folder.path() / "state").string(), "--output", "json"}))
                .at("clean"),
            true);
}

TEST(Carrying, check_refuses_what_cannot_be_sent_to_a_host) {
  const TemporaryDirectory folder;
  const auto scenario = [&](std::size_t bytes) {
    return folder
        .write("drill.yaml",
               fmt::format("scenario: long\nsquad: web\nservices:\n  web:\n    processes: {{listens_on: "
                           "8080}}\n    probes: [{{http: \"http://127.0.0.1:8080/\"}}]\n"
                           "method:\n  - name: one\n    fault: http.body\n    on: {{service: web}}\n    "
                           "with: {{body: {}}}\n    for: 5s\n"
                           "expect:\n  - {{service: web, availability: \">= 99%\"}}\n",
                           std::string(bytes, 'x')))
        .string();
  };
  Squall squall;
  EXPECT_EQ(squall.run({"check", scenario(3 << 20)}), 2);
  EXPECT_NE(squall.output().find("more than the 2 MiB that can be sent to a host"), std::string::npos);
  EXPECT_EQ(squall.run({"check", scenario(1 << 20)}), 0) << squall.output().substr(0, 1000);
}

}  // namespace
}  // namespace squall::test
