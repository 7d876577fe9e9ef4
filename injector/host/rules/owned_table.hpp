// nf_tables rules that are ours as long as we live: the kernel removes them with the socket that made them.
#pragma once

#include <memory>
#include <mutex>

#include "injector/change/transaction.hpp"
#include "injector/host/netlink/netlink.hpp"

namespace squall {

class OwnedTable {
 public:
  // Where the process dies, the table goes before all else, so that packets flow again at once, or, where
  // sockets of ours need it to say goodbye, after them.
  enum class Dies { first, last };
  explicit OwnedTable(Dies dies = Dies::first) : dies_(dies) {}
  ~OwnedTable();
  OwnedTable(const OwnedTable&) = delete;

  // One batch that adds them, in the caller's network namespace; throws std::runtime_error where the kernel
  // refuses.
  void add(netlink::Messages&);
  // One batch that changes what was added; throws std::runtime_error where the kernel refuses, and then
  // nothing is changed. From any thread.
  void change(netlink::Messages&);
  bool there() const;
  // One batch that deletes the table called `name`.
  Undone remove(netlink::Messages&, const std::string& name);

 private:
  const Dies dies_;
  mutable std::mutex mutex_;
  std::unique_ptr<netlink::Socket> owner_;
};

}  // namespace squall
