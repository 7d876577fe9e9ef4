// Drills that the daemon starts: who may, what becomes of them, and that none outlives it.
#include <csignal>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controller/serve/store/database.hpp"
#include "tests/serve/daemon.hpp"
#include "tests/support/servers.hpp"

namespace squall::test {
namespace {

class Serve : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "changing a host needs root";
    daemon.drills.write("landscape.yaml",
                        fmt::format("squads: {{web: {{}}, db: {{}}}}\nservices:\n"
                                    "  site: {{squad: web, processes: {{pid: {0}}}, probes: [{{http: "
                                    "\"http://{2}/\", every: 10ms}}]}}\n"
                                    "  store: {{squad: db, processes: {{pid: {1}}}, probes: [{{http: "
                                    "\"http://{2}/\", every: 10ms}}]}}\n",
                                    site.process->pid(), store.process->pid(), watched.address()));
    write_drill("site-dies", "web", "site", "500ms");
    write_drill("store-dies", "web", "store", "500ms");
    write_drill("site-dies-long", "web", "site", "60s");
    daemon.drills.write("broken.yaml", "scenario: broken\nmethod: [{fault: process.kil}]\n");
  }
  void write_drill(const std::string& name, const std::string& squad, const std::string& service,
                   const std::string& lasts) {
    daemon.drills.write(
        name + ".yaml",
        fmt::format("scenario: {}\nsquad: {}\nbaseline: {{for: 300ms}}\nrecovery: {{for: 300ms}}\nmethod:\n"
                    "  - {{fault: process.kill, on: {{service: {}}}, for: {}}}\n"
                    "expect:\n  - {{service: {}, availability: \">= 90%\"}}\n",
                    name, squad, service, lasts, service));
  }
  std::string start(const std::string& who, const std::string& drill) {
    const auto reply = daemon.post(who, "/api/v1/drills/" + drill + "/start");
    EXPECT_EQ(reply.status, 202) << reply.body;
    return reply.status == 202 ? std::string(reply.json().at("run").as_string()) : "";
  }
  std::string hash(const std::string& drill) {
    const auto all = daemon.get("vera", "/api/v1/drills").json();
    for (auto& one : all.at("drills").as_array())
      if (one.at("drill").as_string() == drill) return std::string(one.at("hash").as_string());
    return "";
  }
  bool journals_gone() const {
    for (auto& entry : std::filesystem::recursive_directory_iterator(daemon.state.path()))
      if (entry.path().extension() == ".journal") return false;
    return true;
  }

  Server site = start_nginx("location / { return 200 ok; }");
  Server store = start_nginx("location / { return 200 ok; }");
  Server watched = start_nginx("location / { return 200 ok; }");
  Daemon daemon;
};

TEST_F(Serve, a_drill_runs_as_a_child_and_its_record_is_kept) {
  daemon.start();
  const auto id = start("wolf", "site-dies");
  const auto run = daemon.ended(id);
  ASSERT_FALSE(run.empty()) << daemon.record(id);
  EXPECT_EQ(run.at("verdict").as_string(), "pass") << run;
  EXPECT_EQ(run.at("started_by").as_string(), "wolf");
  const auto report = daemon.get("vera", "/runs/" + id);
  EXPECT_EQ(report.status, 200);
  EXPECT_NE(report.body.find("<!doctype html>"), std::string::npos);
  const auto audit = daemon.get("lea", "/api/v1/audit").json();
  EXPECT_EQ(audit.at(0).at("who").as_string(), "wolf");
  EXPECT_EQ(audit.at(0).at("what").as_string(), "start");
  EXPECT_NE(daemon.get("vera", "/metrics").body.find("squall_runs_total{verdict=\"pass\"} 1"),
            std::string::npos);
  EXPECT_EQ(daemon.get("vera", "/api/v1/scorecard").json().at("services").at("store").at("score").as_string(),
            "unknown");
  EXPECT_EQ(
      daemon.get("vera", "/api/v1/scorecard").json().at("services").at("site").at("score").to_number<int>(),
      100);
}

TEST_F(Serve, a_file_that_is_wrong_is_told_with_its_place_and_the_rest_goes_on) {
  daemon.start();
  const auto all = daemon.get("vera", "/api/v1/drills").json();
  EXPECT_EQ(all.at("drills").as_array().size(), 3u);
  ASSERT_EQ(all.at("broken").as_array().size(), 1u) << all;
  EXPECT_NE(std::string(all.at("broken").at(0).at("errors").as_string()).find("broken.yaml:2:18: error"),
            std::string::npos)
      << all;
  EXPECT_NE(daemon.get("vera", "/").body.find("did you mean"), std::string::npos);
}

TEST_F(Serve, another_squads_service_takes_its_approval_of_this_very_content) {
  daemon.start();
  const auto path = std::string("/api/v1/drills/store-dies/");
  EXPECT_EQ(daemon.post("wolf", path + "start").status, 403);
  const auto approval = fmt::format(R"({{"squad":"db","hash":"{}","for":"1h"}})", hash("store-dies"));
  EXPECT_EQ(daemon.post("wolf", path + "approve", approval).status, 403) << "not one of theirs";
  EXPECT_EQ(daemon.post("dora", path + "approve", R"({"squad":"db","hash":"00"})").status, 409);
  EXPECT_EQ(daemon.post("dora", path + "approve", approval).status, 200);
  EXPECT_FALSE(daemon.ended(start("wolf", "store-dies")).empty());
  EXPECT_EQ(daemon.post("dora", path + "withdraw", R"({"squad":"db"})").status, 200);
  EXPECT_EQ(daemon.post("wolf", path + "start").status, 403);
  EXPECT_EQ(daemon.post("dora", path + "approve", approval).status, 200);
  daemon.process->stop();
  write_drill("store-dies", "web", "store", "600ms");
  daemon.start();
  EXPECT_EQ(daemon.post("wolf", path + "start").status, 403) << "its content is another";
}

TEST_F(Serve, a_scenario_that_declares_owners_itself_is_nobodys_but_the_leads) {
  daemon.drills.write(
      "sly.yaml",
      "scenario: sly\nsquad: web\nservices: {store: {squad: web, probes: [{tcp: \"127.0.0.1:1\"}]}}\n"
      "method: [{fault: process.kill, on: {service: store}, for: 1s}]\nexpect: [{service: store, "
      "availability: \">= 1%\"}]\n");
  daemon.start();
  const auto reply = daemon.post("wolf", "/api/v1/drills/sly/start");
  EXPECT_EQ(reply.status, 403);
  EXPECT_NE(reply.body.find("declares services of its own"), std::string::npos) << reply.body;
}

TEST_F(Serve, the_lead_halts_all_and_freezes_all) {
  daemon.start();
  const auto id = start("wolf", "site-dies-long");
  ASSERT_TRUE(daemon.record_holds(id, "fault.applied"));
  EXPECT_EQ(daemon.post("wolf", "/api/v1/drills/site-dies/start").status, 409) << "the service is taken";
  EXPECT_EQ(daemon.post("vera", "/api/v1/halt").status, 403);
  EXPECT_EQ(daemon.post("lea", "/api/v1/halt").status, 202);
  EXPECT_EQ(daemon.ended(id).at("verdict").as_string(), "halted");
  EXPECT_TRUE(journals_gone());
  EXPECT_EQ(daemon.post("lea", "/api/v1/freeze", R"({"why":"a real incident"})").status, 200);
  const auto reply = daemon.post("wolf", "/api/v1/drills/site-dies/start");
  EXPECT_EQ(reply.status, 409);
  EXPECT_NE(reply.body.find("a real incident"), std::string::npos) << reply.body;
}

TEST_F(Serve, no_drill_outlives_the_daemon_that_is_killed) {
  daemon.start();
  const auto id = start("wolf", "site-dies-long");
  ASSERT_TRUE(daemon.record_holds(id, "fault.applied"));
  daemon.kill();
  ASSERT_TRUE(daemon.record_holds(id, "run.ended"));
  EXPECT_TRUE(journals_gone());
  EXPECT_NE(daemon.record(id).find("what started it has gone"), std::string::npos);
  daemon.start();
  const auto run = daemon.ended(id);
  ASSERT_FALSE(run.empty());
  EXPECT_EQ(run.at("verdict").as_string(), "halted");
}

TEST_F(Serve, the_end_of_the_daemon_undoes_first) {
  daemon.start();
  const auto id = start("wolf", "site-dies-long");
  ASSERT_TRUE(daemon.record_holds(id, "fault.applied"));
  daemon.process->stop();
  EXPECT_NE(daemon.record(id).find("run.ended"), std::string::npos);
  EXPECT_TRUE(journals_gone());
}

TEST_F(Serve, the_audit_is_append_only) {
  daemon.start();
  daemon.post("lea", "/api/v1/freeze");
  serve::Database store{(daemon.state.path() / "serve/store.sqlite").string()};
  EXPECT_THROW(store.run("UPDATE audit SET who='nobody'"), std::runtime_error);
  EXPECT_THROW(store.run("DELETE FROM audit"), std::runtime_error);
}

}  // namespace
}  // namespace squall::test
