#include "injector/host/records.hpp"

#include "injector/host/network_namespace.hpp"

namespace squall::undo {

std::string text_of(const boost::json::object& with, const char* key) {
  auto* member = with.if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : "";
}

std::uint64_t number_of(const boost::json::object& with, const char* key) {
  auto* member = with.if_contains(key);
  boost::json::error_code error;
  return member && member->is_number() ? member->to_number<std::uint64_t>(error) : 0;
}

Undone in_namespace_of(const boost::json::object& with, Undone (*act)(const boost::json::object&)) {
  const auto inode = number_of(with, "netns");
  const auto hint = static_cast<pid_t>(number_of(with, "pid"));
  if (inode != current_network_namespace() && !open_network_namespace(inode, hint)) return {UndoOutcome::already, "", ""};
  Undone out;
  in_network_namespace(inode, hint, [&] { out = act(with); });
  return out;
}

}  // namespace squall::undo
