#include "controller/engine/who.hpp"

#include <cstdlib>
#include <fstream>

#include <pwd.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall {
namespace {

std::string name_of(uid_t uid) {
  const auto* entry = ::getpwuid(uid);
  return entry && entry->pw_name ? entry->pw_name : fmt::format("uid {}", uid);
}

// The user who logged in, whatever they became since (pam_loginuid(8)); "" where nobody did.
std::string logged_in() {
  std::uint32_t uid = ~0u;
  if (!(std::ifstream{"/proc/self/loginuid"} >> uid) || uid == ~0u) return "";
  return name_of(uid);
}

std::string set_in(const char* variable) {
  const char* value = std::getenv(variable);
  std::string out = value ? value : "";
  for (auto& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return out.substr(0, 100);
}

std::string terminal() {
  for (int stream : {STDERR_FILENO, STDOUT_FILENO, STDIN_FILENO}) {
    char name[64] = "";
    if (::ttyname_r(stream, name, sizeof name) == 0)
      return std::string_view(name).starts_with("/dev/") ? name + 5 : name;
  }
  return "";
}

}  // namespace

std::string who_am_i() {
  const auto self = name_of(::geteuid());
  auto person = set_in("SUDO_USER");
  if (person.empty()) person = logged_in();
  auto out = person.empty() || person == self ? self : fmt::format("{} as {}", person, self);
  if (const auto tty = terminal(); !tty.empty()) out += fmt::format(", on {}", tty);
  const auto ssh = set_in("SSH_CONNECTION");
  if (const auto client = ssh.substr(0, ssh.find(' ')); !client.empty())
    out += fmt::format(", by ssh from {}", client);
  return out;
}

}  // namespace squall
