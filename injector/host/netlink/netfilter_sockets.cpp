#include "injector/host/netlink/netfilter_sockets.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <map>
#include <mutex>

#include "injector/system/close_later.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

namespace {

struct Kept {
  std::mutex mutex;
  std::multimap<std::uint64_t, netlink::Socket> by_namespace;
};

// Never destroyed: the kernel closes them quicker than we could.
Kept& kept() {
  static auto* const all = new Kept;
  return *all;
}

std::uint64_t namespace_of(const netlink::Socket& socket) {
  Fd fd{::ioctl(socket.fd(), SIOCGSKNS)};
  struct stat info{};
  return fd && ::fstat(fd.get(), &info) == 0 ? info.st_ino : 0;
}

// A socket keeps its namespace alive, so only those of our own are kept.
bool is_own(std::uint64_t inode) {
  struct stat info{};
  return inode && ::stat("/proc/self/ns/net", &info) == 0 && info.st_ino == inode;
}

}  // namespace

netlink::Socket take_netfilter_socket() {
  auto& all = kept();
  {
    std::lock_guard lock{all.mutex};
    if (auto found = all.by_namespace.find(current_network_namespace()); found != all.by_namespace.end()) {
      auto socket = std::move(found->second);
      all.by_namespace.erase(found);
      char rest[4096];
      while (::recv(socket.fd(), rest, sizeof rest, MSG_DONTWAIT) >= 0)
        continue;
      return socket;
    }
  }
  netlink::Socket fresh{NETLINK_NETFILTER};
  fresh.close_first();
  return fresh;
}

void give_back(netlink::Socket socket) {
  const auto inode = namespace_of(socket);
  if (!is_own(inode)) return close_later(socket.release());
  auto& all = kept();
  std::lock_guard lock{all.mutex};
  if (all.by_namespace.size() >= most_netfilter_sockets_kept) return close_later(socket.release());
  all.by_namespace.emplace(inode, std::move(socket));
}

}  // namespace squall
