#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/servers.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace {

namespace fs = std::filesystem;

// A small file system of this test's own: a tmpfs in a mount namespace that only the test and what it starts
// see.
class SmallDisk {
 public:
  SmallDisk(const fs::path& at, const std::string& size) : at_(at) {
    fs::create_directories(at);
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", at.c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0)
      throw std::runtime_error(std::string("mount a small tmpfs: ") + std::strerror(errno));
  }
  ~SmallDisk() { ::umount2(at_.c_str(), MNT_DETACH); }
  // Writes until nothing more fits.
  void fill() const {
    const int file = ::open((at_ / "filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    while (::write(file, page.data(), page.size()) > 0) {
    }
    ::close(file);
  }
  void empty() const { fs::remove(at_ / "filler"); }

 private:
  fs::path at_;
};

class FullDiskDrill : public testing::Test {
 protected:
  FullDiskDrill() {
    if (::geteuid() != 0) throw std::runtime_error("needs root");
  }
  Server web = start_nginx("location / { return 200 ok; }");
  Server other = start_nginx("location / { return 200 ok; }");
  Squall squall;
};

// The record's room is reserved before the first change: the run ends as if the disk were empty.
TEST_F(FullDiskDrill, a_disk_that_fills_up_costs_neither_the_record_nor_the_reports) {
  SmallDisk disk(squall.runs(), "10m");
  squall.start_drill(kill_drill(web.process->pid(), other.address(), "SIGKILL", "3s"));
  ASSERT_TRUE(squall.wait_for_record("fault.applied")) << squall.output();
  disk.fill();
  EXPECT_EQ(squall.wait(), 0) << squall.output();
  EXPECT_TRUE(squall.journals_gone());

  const auto record = squall.record();
  EXPECT_NE(record.find("run.ended"), std::string::npos) << record;
  std::size_t begin = 0;
  for (auto end = record.find('\n'); end != std::string::npos;
       begin = end + 1, end = record.find('\n', begin))
    EXPECT_NO_THROW((void)boost::json::parse(record.substr(begin, end - begin)))
        << record.substr(begin, end - begin);
  EXPECT_EQ(begin, record.size()) << "the last line is torn: " << record.substr(begin);
  EXPECT_EQ(squall.report().at("verdict"), "pass");
  for (const char* name : {"report.html", "report.md", "junit.xml"})
    EXPECT_GT(fs::file_size(squall.run_folder() / name), 100u) << name;
}

TEST_F(FullDiskDrill, a_full_disk_stops_a_drill_before_it_changes_anything) {
  SmallDisk disk(squall.runs(), "64k");
  disk.fill();
  EXPECT_EQ(squall.drill(kill_drill(web.process->pid(), other.address(), "SIGKILL", "2s")), 5)
      << squall.output();
  EXPECT_EQ(::kill(web.process->pid(), 0), 0) << "the server was killed";
  EXPECT_TRUE(port_answers(web.process->port()));
}

TEST_F(FullDiskDrill, an_injector_without_room_for_its_journal_changes_nothing) {
  SmallDisk disk(squall.state(), "16k");
  disk.fill();
  EXPECT_EQ(squall.drill(kill_drill(web.process->pid(), other.address(), "SIGKILL", "2s")), 5)
      << squall.output();
  EXPECT_NE(squall.output().find("No space left on device"), std::string::npos) << squall.output();
  EXPECT_TRUE(port_answers(web.process->port()));
}

}  // namespace
}  // namespace squall::test
