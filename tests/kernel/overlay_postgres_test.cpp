// PostgreSQL under load while an overlay comes over its data, is slow, fails, loses its worker by SIGKILL
// again and again and is taken away: nobody loses a byte.
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/overlay/detach.hpp"
#include "tests/support/own_mounts.hpp"
#include "tests/support/run_fault.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::OwnMounts;
using testing::RunFault;

class OverlayPostgres : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string_view name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    if (name.starts_with("long_") && !::getenv("SQUALL_LONG"))
      GTEST_SKIP() << "takes ten seconds: SQUALL_LONG=1 runs it";
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/fuse";
    std::error_code missing;
    for (auto& entry : std::filesystem::directory_iterator{"/usr/lib/postgresql", missing})
      programs = entry.path().string() + "/bin";
    if (programs.empty()) GTEST_SKIP() << "needs PostgreSQL";
    shell(fmt::format("chown postgres {} {}", mounts.folder(), mounts.bare()), "root");
    ASSERT_THAT(shell(fmt::format("{}/initdb -k -N -A trust -D {}", programs, mounts.folder())),
                HasSubstr("Success"));
    start();
    shell("pgbench -i -q -s 2 postgres");
    shell(fmt::format("{}/pg_ctl -w -D {} -m fast stop", programs, mounts.folder()));
  }
  void TearDown() override {
    shell(fmt::format("{}/pg_ctl -D {} -m immediate stop", programs, mounts.folder()));
  }

  void start() {
    const auto options = fmt::format(
        "-k {} -c listen_addresses= -c shared_buffers=1MB -c checkpoint_timeout=30s "
        "-c max_wal_size=32MB -c data_sync_retry=off",
        mounts.bare());
    ASSERT_THAT(shell(fmt::format("{}/pg_ctl -w -D {} -l {}/log -o '{}' start", programs, mounts.folder(),
                                  mounts.bare(), options)),
                HasSubstr("server started"));
  }
  // What a command of PostgreSQL's user says, in the service's mount namespace.
  std::string shell(const std::string& command, const std::string& user = "postgres") const {
    return mounts.inside(
        [&] {
          const auto all = fmt::format(
              "cd /; PGHOST={} PATH={}:$PATH setpriv --reuid {} --regid {} --init-groups bash -c \"{}\" 2>&1",
              mounts.bare(), programs, user, user, command);
          std::string out;
          auto* pipe = ::popen(all.c_str(), "re");
          char piece[1024];
          for (std::size_t got = 0; (got = ::fread(piece, 1, sizeof piece, pipe)) > 0;)
            out.append(piece, got);
          ::pclose(pipe);
          return out;
        },
        60'000);
  }
  // What pgbench's transactions leave equal, and the checksum of every page after an orderly stop.
  void expect_sound() {
    const auto sums = shell(
        "psql -qAtF= -c 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) "
        "from pgbench_history), (select sum(bbalance) from pgbench_branches) = (select sum(delta) "
        "from pgbench_history), (select sum(tbalance) from pgbench_tellers) = (select sum(delta) "
        "from pgbench_history)' postgres");
    EXPECT_EQ(sums, "t=t=t\n");
    EXPECT_THAT(shell(fmt::format("{}/pg_ctl -w -D {} -m fast stop", programs, mounts.folder())),
                HasSubstr("server stopped"));
    EXPECT_THAT(shell(fmt::format("{}/pg_checksums --check -D {}", programs, mounts.folder())),
                HasSubstr("Bad checksums:  0"));
  }
  boost::json::object on() const { return {{"path", mounts.folder()}, {"pid", mounts.pid()}}; }
  void kill_worker(const RunFault& fault) {
    const auto tag = std::string(fault.inverses().at(0).with.at("tag").as_string());
    if (const auto processes = overlay::processes_of(tag); processes.size() == 2)
      killed += ::kill(processes.back(), SIGKILL) == 0;
  }

  OwnMounts mounts;
  std::string programs;
  int killed = 0;
};

// PostgreSQL's working folder is its data: what it opens comes by the overlay only where it was started under
// it.
TEST_F(OverlayPostgres, loses_nothing_where_the_overlay_dies_and_goes_under_load) {
  RunFault fault("disk.latency", {{"flush", "2ms"}, {"read", "1ms"}, {"share", "20%"}}, on());
  fault.apply();
  start();
  std::string said;
  std::thread load{[&] { said = shell("pgbench -n -C -c 4 -T 3 postgres"); }};
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(150ms);
    kill_worker(fault);
  }
  EXPECT_GT(fault->measure().shares.at(1).met, 0U) << boost::json::serialize(fault->measure().json());
  EXPECT_EQ(killed, 10);
  EXPECT_EQ(fault.undo(true), "");  // what it has open is served on
  load.join();
  EXPECT_THAT(said, HasSubstr("number of failed transactions: 0 (0.000%)"));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("error")));
  expect_sound();
}

TEST_F(OverlayPostgres, long_recovers_from_flushes_that_fail_as_from_those_of_a_disk) {
  RunFault fault("disk.error", {{"operations", boost::json::array{"flush"}}, {"share", "3%"}}, on());
  fault.apply();
  start();
  shell("pgbench -n -C -c 4 -T 2 postgres");
  EXPECT_GT(fault->measure().shares.at(0).met, 0U) << boost::json::serialize(fault->measure().json());
  EXPECT_EQ(fault.undo(), "");
  // It panics where a flush of its log fails, and recovers by itself, or when it is started again.
  shell(fmt::format("{}/pg_ctl -D {} -m immediate stop", programs, mounts.folder()));
  start();
  expect_sound();
}

}  // namespace
}  // namespace squall
