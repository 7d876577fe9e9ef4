#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "injector/system/ssh_starters.hpp"
#include "tests/support/server_process.hpp"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using namespace std::string_view_literals;

class SshStarters : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder.path() / name).parent_path());
    std::ofstream{folder.path() / name} << text;
  }
  std::string root() const { return folder.path().string(); }
  test::TemporaryDirectory folder;
};

TEST_F(SshStarters, socket_units_of_ssh_are_known_with_their_drop_ins) {
  write("usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\nAccept=no\n");
  write("usr/lib/systemd/system/ssh.service",
        "[Service]\nExecStartPre=/bin/true\nExecStart=-/usr/sbin/sshd -D $SSHD_OPTS\n");
  write("run/systemd/generator/ssh.socket.d/addresses.conf",
        "[Socket]\nListenStream=\nListenStream=[::]:2222\nListenStream=/run/ssh.socket\n");
  write("etc/systemd/system/door.socket",
        "[Socket]\n# ListenStream=1\nListenStream = 0.0.0.0:2223\nAccept=yes\n");
  write("etc/systemd/system/door@.service", "[Service]\nExecStart=/usr/sbin/dropbear -i -F\n");
  write("etc/systemd/system/web.socket", "[Socket]\nListenStream=80\n");
  write("etc/systemd/system/web.service", "[Service]\nExecStart=/usr/sbin/httpd --note not-sshd\n");
  EXPECT_THAT(
      ports_of_ssh_sockets(root()),
      ElementsAre(Pair(22, HasSubstr("ssh.socket starts")), Pair(2222, HasSubstr("ssh.socket starts")),
                  Pair(2223, HasSubstr("door.socket starts /usr/sbin/dropbear"))));
}

TEST_F(SshStarters, inetd_and_xinetd_too) {
  write("etc/inetd.conf",
        "#2300 stream tcp nowait root /usr/sbin/sshd sshd -i\n2301 stream tcp nowait root /usr/sbin/sshd "
        "sshd -i\nfinger stream tcp nowait nobody /usr/sbin/fingerd fingerd\n");
  write("etc/xinetd.d/ssh",
        "service ssh\n{\n  port = 2302\n  server = /usr/sbin/sshd\n  server_args = -i\n}\n");
  write("etc/xinetd.d/off", "service ssh\n{\n  port = 2303\n  server = /usr/sbin/sshd\n  disable = yes\n}\n");
  EXPECT_THAT(ports_of_ssh_in_inetd(root()),
              ElementsAre(Pair(2301, HasSubstr("inetd.conf")), Pair(2302, HasSubstr("xinetd.d/ssh"))));
}

TEST(StartsSsh, by_the_base_name_of_any_word) {
  EXPECT_TRUE(starts_ssh("systemd-socket-activate\0-l\0002222\0/usr/sbin/sshd\0-i"sv));
  EXPECT_TRUE(starts_ssh("sh -c 'exec dropbear -i'"));
  EXPECT_FALSE(starts_ssh("ssh -L 1:2:3 host"));
  EXPECT_FALSE(starts_ssh("vi /etc/ssh/sshd_config"));
}

}  // namespace
}  // namespace squall
