#include "injector/system/network_namespace.hpp"

#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include "injector/system/read_file.hpp"

namespace squall {

namespace {

Fd open_if(const std::string& path, std::uint64_t inode) {
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info{};
  if (fd && ::fstat(fd.get(), &info) == 0 && info.st_ino == inode) return fd;
  return {};
}

std::vector<pid_t> pids() {
  std::vector<pid_t> out;
  for (auto& entry : entries("/proc"))
    if (const auto name = entry.filename().string();
        name.find_first_not_of("0123456789") == std::string::npos)
      out.push_back(std::stoi(name));
  return out;
}

std::string namespace_file(pid_t pid) {
  return fmt::format("/proc/{}/ns/net", live_thread(pid));
}

}  // namespace

std::uint64_t current_network_namespace() {
  struct stat info{};
  return ::stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

std::set<std::uint64_t> network_namespaces() {
  std::set<std::uint64_t> out;
  const auto look = [&](const std::string& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0) out.insert(info.st_ino);
  };
  for (auto& name : entries("/run/netns"))
    look(name.string());
  for (auto& entry : entries("/proc"))
    if (entry.filename().string().find_first_not_of("0123456789") == std::string::npos)
      look(namespace_file(std::stoi(entry.filename().string())));
  return out;
}

Fd open_network_namespace(std::uint64_t inode, pid_t hint) {
  if (hint > 0)
    if (auto fd = open_if(namespace_file(hint), inode)) return fd;
  for (auto& name : entries("/run/netns"))
    if (auto fd = open_if(name.string(), inode)) return fd;
  for (auto pid : pids())
    if (auto fd = open_if(namespace_file(pid), inode)) return fd;
  return {};
}

std::uint64_t current_network_namespace_cookie() {
  std::uint64_t out = 0;
  socklen_t size = sizeof out;
  const Fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  return socket && ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &out, &size) == 0 ? out : 0;
}

std::uint64_t network_namespace_cookie(std::uint64_t inode, pid_t hint) {
  std::uint64_t out = 0;
  try {
    in_network_namespace_if_there(inode, hint, [&] { out = current_network_namespace_cookie(); });
  } catch (const std::exception&) {
  }
  return out;
}

std::vector<pid_t> processes_beside(pid_t pid) {
  // Each namespace has a file of its own there, which, unlike ns/net, everybody may look at.
  const auto file = [](pid_t of) {
    struct stat info{};
    return ::stat(fmt::format("/proc/{}/net/dev", live_thread(of)).c_str(), &info) == 0 ? info.st_ino : 0;
  };
  std::vector<pid_t> out;
  if (const auto its = file(pid))
    for (auto other : pids())
      if (file(other) == its) out.push_back(other);
  return out;
}

void in_network_namespace(std::uint64_t inode, pid_t hint, const std::function<void()>& act) {
  if (!in_network_namespace_if_there(inode, hint, act))
    throw std::runtime_error(fmt::format("enter the network namespace {}: no process is in it", inode));
}

bool in_network_namespace_if_there(std::uint64_t inode, pid_t hint, const std::function<void()>& act) {
  if (inode == 0 || inode == current_network_namespace()) {
    act();
    return true;
  }
  auto fd = open_network_namespace(inode, hint);
  if (!fd) return false;
  std::exception_ptr thrown;
  std::thread{[&] {
    try {
      if (::setns(fd.get(), CLONE_NEWNET) != 0)
        throw std::runtime_error(
            fmt::format("enter the network namespace {}: {}", inode, std::strerror(errno)));
      act();
    } catch (...) {
      thrown = std::current_exception();
    }
  }}.join();
  if (thrown) std::rethrow_exception(thrown);
  return true;
}

std::string refusal_in_fresh_namespace(const std::string& needs, const std::function<void()>& act) {
  std::string why;
  std::thread{[&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      why = "root, or CAP_SYS_ADMIN and CAP_NET_ADMIN";
      return;
    }
    try {
      act();
    } catch (const std::exception& e) {
      why = std::string(e.what()) + " (" + needs + ")";
    }
  }}.join();
  return why;
}

}  // namespace squall
