// Which ports lead to ssh, by what is behind them: real sshds, started in the ways that do not show their
// name.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "injector/system/control_ports.hpp"
#include "injector/system/process.hpp"
#include "injector/system/ssh_servers.hpp"
#include "injector/system/targets.hpp"
#include "tests/support/own_network.hpp"
#include "tests/support/run_fault.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/tcp_peers.hpp"

namespace squall {
namespace {

using namespace std::chrono_literals;
using testing::Client;
using ::testing::HasSubstr;
using testing::OwnNetwork;
using testing::RunFault;

// Why a port is spared; "no" where it is not.
std::string why_spared(std::uint16_t port) {
  for (auto& one : control_ports(network_namespace_of(::getpid())))
    if (one.port == port) return one.why;
  return "no";
}

class ControlPorts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (::access("/usr/sbin/sshd", X_OK) != 0) GTEST_SKIP() << "needs openssh-server";
    test::run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", (folder.path() / "host").string()});
    config = folder
                 .write("sshd_config", fmt::format("PidFile none\nUsePAM no\nHostKey {}\n",
                                                   (folder.path() / "host").string()))
                 .string();
  }
  // sshd wants a folder in /run, which is the machine's: it gets a /run of its own.
  static std::vector<std::string> with_own_run(const std::string& command) {
    return {"unshare", "-m", "sh", "-c", "mount -t tmpfs run /run && mkdir /run/sshd && exec " + command};
  }

  OwnNetwork network;
  test::TemporaryDirectory folder;
  std::string config;
};

TEST_F(ControlPorts, a_renamed_sshd_is_known_by_its_executable) {
  const auto renamed = folder.path() / "gatekeeper";
  std::filesystem::copy_file("/usr/sbin/sshd", renamed);
  const test::ServerProcess server{
      {.command = with_own_run(fmt::format("{} -D -e -p 2231 -f {}", renamed.string(), config)),
       .port = 2231,
       .user = ""}};
  EXPECT_THAT(why_spared(2231), HasSubstr("gatekeeper[" + std::to_string(server.pid()) +
                                          "] listens there, and its executable is an SSH server"));
  RunFault off("network.partition", {}, {{"interface", "any"}});
  const auto limits = off->limits();
  EXPECT_THAT(limits, ::testing::Contains(HasSubstr("tcp port 2231 counts as ssh: gatekeeper[")));
  off.apply();
  network.at_the_other_end([&] { EXPECT_EQ(Client("10.99.0.1", 2231).receive(8), "SSH-2.0-"); });
}

TEST_F(ControlPorts, one_that_is_socket_activated_is_known_by_the_starters_command_line) {
  if (::access("/usr/bin/systemd-socket-activate", X_OK) != 0)
    GTEST_SKIP() << "needs systemd-socket-activate";
  const test::ServerProcess server{
      {.command = with_own_run("systemd-socket-activate -l 2232 --inetd -a /usr/sbin/sshd -i -f " + config),
       .port = 2232,
       .user = ""}};
  EXPECT_THAT(why_spared(2232), HasSubstr("its command line starts an SSH server"));
}

// Listens, and starts sshd -i for each connection, as any program may: nothing tells before somebody comes.
class Starter {
 public:
  Starter(std::uint16_t port, const std::string& config) {
    listener_ = Fd{::socket(AF_INET, SOCK_STREAM, 0)};
    const int yes = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(listener_.get(), 8) != 0)
      throw std::runtime_error("listen");
    pid_ = ::fork();
    if (pid_ == 0) serve(config);
    listener_.reset();
  }
  ~Starter() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  [[noreturn]] void serve(const std::string& config) const {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NAME, "starter");
    for (;;) {
      const int connection = ::accept(listener_.get(), nullptr, nullptr);
      if (::fork() != 0) {
        ::close(connection);
        continue;
      }
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(listener_.get());
      ::dup2(connection, STDIN_FILENO);
      ::dup2(connection, STDOUT_FILENO);
      ::close(connection);
      const auto command =
          "mount -t tmpfs run /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -f " + config;
      ::execlp("unshare", "unshare", "-m", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
  }
  Fd listener_;
  pid_t pid_ = -1;
};

TEST_F(ControlPorts, one_that_anybody_starts_is_known_by_the_connection_that_it_serves) {
  const Starter starter{2233, config};
  EXPECT_EQ(why_spared(2233), "no");
  Client user{"127.0.0.1", 2233};
  ASSERT_EQ(user.receive(8), "SSH-2.0-");
  EXPECT_THAT(why_spared(2233), HasSubstr("serves a connection there"));
}

TEST_F(ControlPorts, a_port_that_is_passed_on_to_ssh_is_spared_and_one_beside_it_is_not) {
  const test::ServerProcess server{
      {.command = with_own_run("/usr/sbin/sshd -D -e -p 2234 -f " + config), .port = 2234, .user = ""}};
  EXPECT_EQ(why_spared(2234), "");
  const test::ServerProcess forward{
      {.command =
           {"python3", "-c",
            "import socket\n"
            "l = socket.create_server(('127.0.0.1', 2235)); m = socket.create_server(('127.0.0.1', 2236))\n"
            "while True:\n"
            "    a, _ = l.accept(); b = socket.create_connection(('127.0.0.1', 2234)); a.sendall(b.recv(8)); "
            "last = (a, b)\n"},
       .port = 2236,
       .user = ""}};
  EXPECT_EQ(why_spared(2235), "no");
  Client user{"127.0.0.1", 2235};
  EXPECT_EQ(user.receive(8), "SSH-2.0-");
  EXPECT_THAT(why_spared(2235), HasSubstr("passes connections on to port 2234"));
}

TEST_F(ControlPorts, a_server_is_not_ssh_for_the_texts_in_our_own_programs) {
  EXPECT_TRUE(is_ssh_server("/usr/sbin/sshd"));
  EXPECT_FALSE(is_ssh_server("/usr/bin/ssh"));
  EXPECT_FALSE(is_ssh_server("/proc/self/exe"));
  EXPECT_FALSE(is_ssh_server("/bin/sh"));
}

}  // namespace
}  // namespace squall
