#include "injector/host/rules/owned_table.hpp"

#include <cerrno>
#include <stdexcept>

#include <fmt/format.h>

#include "injector/host/netlink/netfilter_sockets.hpp"
#include "injector/system/close_later.hpp"
#include "injector/system/last_descriptors.hpp"

namespace squall {

OwnedTable::~OwnedTable() {
  if (owner_) close_later(owner_->release());
}

void OwnedTable::add(netlink::Messages& messages) {
  auto owner = std::make_unique<netlink::Socket>(take_netfilter_socket());
  const auto answer = owner->exchange(messages);
  if (!answer) {
    close_later(owner->release());
    throw std::runtime_error(answer.text());
  }
  const std::lock_guard lock{mutex_};
  owner_ = std::move(owner);
  if (dies_ == Dies::last) owner_->close_last();
}

bool OwnedTable::there() const {
  const std::lock_guard lock{mutex_};
  return static_cast<bool>(owner_);
}

void OwnedTable::change(netlink::Messages& messages) {
  const std::lock_guard lock{mutex_};
  if (!owner_) throw std::runtime_error("the table is gone");
  if (const auto answer = owner_->exchange(messages); !answer) throw std::runtime_error(answer.text());
}

Undone OwnedTable::remove(netlink::Messages& messages, const std::string& name) {
  const std::lock_guard lock{mutex_};
  if (!owner_) return {UndoOutcome::already, "", ""};
  const auto answer = owner_->exchange(messages);
  const bool gone = answer || answer.error == ENOENT;
  if (dies_ == Dies::last) {
    owner_->close_first();
    keep_last_descriptors();
  }
  if (gone)
    give_back(std::move(*owner_));
  else
    close_later(owner_->release());  // what it owns goes with it
  owner_.reset();
  if (gone) return {};
  return {UndoOutcome::failed, fmt::format("remove the table {}: {}", name, answer.text()), ""};
}

}  // namespace squall
