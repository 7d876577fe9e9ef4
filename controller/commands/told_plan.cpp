#include "controller/commands/told_plan.hpp"

#include <cstdio>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "injector/session/request.hpp"

namespace squall {

void print_told_plan(const boost::json::object& told, const std::optional<SampleFile>& samples) {
  fmt::print("  mechanism  {}\n", text_of(told, "mechanism"));
  auto list = [&](const char* key, const char* title) {
    auto* member = told.if_contains(key);
    if (!member || !member->is_array()) return;
    for (auto& item : member->get_array())
      if (item.is_string())
        fmt::print("  {:<10} {}\n", std::exchange(title, ""), std::string(item.get_string()));
  };
  list("targets", "targets");
  if (samples) fmt::print("  samples    {}\n", describe(*samples));
  list("limits", "limits");
  auto* changes = told.if_contains("changes");
  if (!changes || !changes->is_array()) return;
  for (auto& change : changes->get_array()) {
    fmt::print("  do         {}\n", text_of(change.as_object(), "do"));
    fmt::print("  undo       {}\n", text_of(change.as_object(), "undo"));
  }
}

}  // namespace squall
