// What systemd would say is read from a fixture, as `systemctl show` of systemd 252 prints it; systemctl
// itself is a script here.
#include "injector/faults/process/killed_units.hpp"

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/server_process.hpp"

namespace squall::faults {
namespace {

const std::string shown =
    "Restart=always\nRestartUSec=100ms\nResult=success\nActiveState=active\nStartLimitIntervalUSec="
    "10s\nStartLimitBurst=5\n";

systemd::Unit web() {
  return systemd::read_properties(
      {.name = "web.service", .manager = {}, .active = "", .result = "", .restart = ""}, shown);
}

Process in_cgroup(const std::string& path) {
  Process out;
  out.cgroup = path;
  return out;
}

// A systemctl that prints what a file says.
class Systemctl {
 public:
  Systemctl() : before_(std::getenv("PATH")) {
    const auto script =
        folder_.write("systemctl", "#!/bin/sh\nexec cat " + (folder_.path() / "shown").string() + "\n");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    ::setenv("PATH", (folder_.path().string() + ":" + before_).c_str(), 1);
  }
  ~Systemctl() { ::setenv("PATH", before_.c_str(), 1); }
  void says(const std::string& text) const { folder_.write("shown", text); }

 private:
  test::TemporaryDirectory folder_;
  std::string before_;
};

TEST(KilledUnits, are_known_by_their_cgroup) {
  EXPECT_EQ(systemd::unit_of(in_cgroup("/system.slice/web.service"))->command("start"),
            "systemctl start web.service");
  EXPECT_EQ(systemd::unit_of(in_cgroup("/system.slice/web.service/worker"))->name, "web.service");
  EXPECT_EQ(systemd::unit_of(in_cgroup("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service"))
                ->command("start"),
            "systemctl --user --machine=1000@.host start web.service");
  EXPECT_FALSE(systemd::unit_of(in_cgroup("/user.slice/user-1000.slice/session-3.scope")));
  auto v1 = in_cgroup("");
  v1.cgroups["name=systemd"] = "/system.slice/web.service";
  EXPECT_EQ(systemd::unit_of(v1)->name, "web.service");
}

TEST(KilledUnits, foresee_that_a_rhythm_uses_up_the_start_limit) {
  const auto text = used_up(web(), Duration{1'000'000'000});
  EXPECT_NE(text.find("no more than 5 times in 10s"), std::string::npos) << text;
  EXPECT_NE(text.find("within 5s"), std::string::npos) << text;
  EXPECT_NE(text.find("`systemctl reset-failed web.service`"), std::string::npos) << text;
  EXPECT_EQ(used_up(web(), Duration{3'000'000'000}), "");  // never five within ten seconds
  EXPECT_EQ(used_up(web(), {}), "");
  auto unlimited = web();
  unlimited.interval_ns = systemd::read_timespan("0");
  EXPECT_EQ(used_up(unlimited, Duration{1'000'000'000}), "");
  auto once = web();
  once.restart = "no";
  EXPECT_EQ(used_up(once, Duration{1'000'000'000}), "");
}

TEST(KilledUnits, read_times_as_systemd_writes_them) {
  EXPECT_EQ(systemd::read_timespan("1min 30s"), 90'000'000'000);
  EXPECT_EQ(systemd::read_timespan("100ms"), 100'000'000);
  EXPECT_EQ(systemd::read_timespan("1.5s"), 1'500'000'000);
  EXPECT_EQ(systemd::read_timespan("infinity"), 0);
}

TEST(KilledUnits, that_systemd_has_given_up_are_told_as_left) {
  const Systemctl systemctl;
  systemctl.says(shown);
  const auto units =
      units_of({in_cgroup("/system.slice/web.service"), in_cgroup("/system.slice/web.service")});
  ASSERT_EQ(units.size(), 1U);
  const auto watch = watch_unit(units.front());
  EXPECT_EQ(watch.release().outcome, UndoOutcome::already);
  systemctl.says(
      "Restart=always\nRestartUSec=100ms\nResult=signal\nActiveState=failed\nStartLimitIntervalUSec="
      "10s\nStartLimitBurst=5\n");
  const auto left = watch.release();
  EXPECT_EQ(left.outcome, UndoOutcome::conflict);
  EXPECT_EQ(left.detail, "systemd has given up web.service (signal): it stays dead");
  EXPECT_EQ(left.by_hand, "systemctl reset-failed web.service && systemctl start web.service");
}

}  // namespace
}  // namespace squall::faults
