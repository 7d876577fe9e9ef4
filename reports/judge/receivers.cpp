// Whose a receiver of Alertmanager's is, by its name.
#include <algorithm>
#include <array>
#include <string_view>

#include "reports/judge/alert_story.hpp"

namespace squall {
namespace {

// What only says how somebody is told, or that everybody is: beside a squad's name it takes nothing away.
constexpr std::array<std::string_view, 38> channel_words{
    "alert",   "alerts", "all",           "call",      "channel",  "chat",     "critical", "default",
    "discord", "email",  "events",        "everybody", "everyone", "hook",     "hooks",    "incident",
    "mail",    "main",   "notifications", "notify",    "on",       "oncall",   "ops",      "opsgenie",
    "page",    "pager",  "pagerduty",     "pages",     "phone",    "receiver", "slack",    "sms",
    "squad",   "team",   "teams",         "telegram",  "webhook",  "webhooks"};

bool word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out{""};
  for (char c : text) {
    if (word_character(c))
      out.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    else if (!out.back().empty())
      out.emplace_back();
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

bool only_channels(std::vector<std::string>::const_iterator from,
                   std::vector<std::string>::const_iterator to) {
  return std::all_of(from, to, [](auto& word) {
    return std::find(channel_words.begin(), channel_words.end(), word) != channel_words.end();
  });
}

// The squad's words stand in the receiver's in a row, and all others are channels.
bool names(const std::vector<std::string>& receiver, const std::vector<std::string>& squad) {
  if (squad.empty()) return false;
  auto at = std::search(receiver.begin(), receiver.end(), squad.begin(), squad.end());
  return at != receiver.end() && only_channels(receiver.begin(), at) &&
         only_channels(at + static_cast<std::ptrdiff_t>(squad.size()), receiver.end());
}

}  // namespace

std::string squad_of(const std::string& receiver, const std::map<std::string, std::string>& labels,
                     const std::vector<std::string>& squads,
                     const std::map<std::string, SquadSpec>& declared) {
  for (auto& [name, squad] : declared)
    if (std::find(squad.receivers.begin(), squad.receivers.end(), receiver) != squad.receivers.end())
      return name;
  if (std::find(squads.begin(), squads.end(), receiver) != squads.end()) return receiver;
  const auto said = words(receiver);
  std::string best;
  for (auto& squad : squads)
    if (squad.size() > best.size() && names(said, words(squad))) best = squad;
  if (!best.empty()) return best;
  auto label = labels.find("squad");
  return label == labels.end() || !only_channels(said.begin(), said.end()) ? "" : label->second;
}

}  // namespace squall
