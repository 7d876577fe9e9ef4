#include "injector/change/records.hpp"

#include <map>

#include "injector/system/network_namespace.hpp"

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
  if (inode != current_network_namespace() && !open_network_namespace(inode, hint))
    return {UndoOutcome::already, "", ""};
  const auto cookie = number_of(with, "netns_cookie");
  Undone out{UndoOutcome::already, "", ""};
  in_network_namespace(inode, hint, [&] {
    // Another namespace may have got the number of one that is gone.
    if (cookie == 0 || cookie == current_network_namespace_cookie()) out = act(with);
  });
  return out;
}

void tell_namespaces_apart(std::span<Inverse* const> inverses) {
  std::map<std::uint64_t, std::uint64_t> known;
  for (auto* inverse : inverses) {
    const auto inode = number_of(inverse->with, "netns");
    if (!inode) continue;
    const auto [cookie, fresh] = known.try_emplace(inode, 0);
    if (fresh)
      cookie->second = network_namespace_cookie(inode, static_cast<pid_t>(number_of(inverse->with, "pid")));
    if (cookie->second) inverse->with["netns_cookie"] = cookie->second;
  }
}

}  // namespace squall::undo
