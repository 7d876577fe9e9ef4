#include <gtest/gtest.h>

#include "injector/system/control_ports.hpp"

namespace squall {
namespace {

using std::string_view_literals::operator""sv;

TEST(ControlPorts, of_an_ssh_connection_are_read_out_of_an_environment) {
  EXPECT_EQ(ssh_connection_of("HOME=/root\0SSH_CONNECTION=10.0.0.9 50122 10.0.0.1 2222\0TERM=xterm\0"sv),
            (SshConnection{"10.0.0.9", 2222}));
  EXPECT_EQ(ssh_connection_of("SSH_CONNECTION=fd00::9 50122 fd00::1 22"sv), (SshConnection{"fd00::9", 22}));
  for (auto none : {""sv, "HOME=/root\0"sv, "X_SSH_CONNECTION=10.0.0.9 50122 10.0.0.1 2222\0"sv,
                    "SSH_CONNECTION=\0"sv, "SSH_CONNECTION=a 1 b 70000\0"sv, "SSH_CONNECTION=a 1 b\0"sv})
    EXPECT_FALSE(ssh_connection_of(none)) << none;
}

}  // namespace
}  // namespace squall
