#include "injector/session/touched.hpp"

#include <algorithm>
#include <map>

#include <fnmatch.h>

#include <boost/json.hpp>

namespace squall {
namespace {

namespace json = boost::json;

// Words as faults and snapshots write them: names, paths, dotted sysctls, "redis-server[4711]".
void add_words(std::string_view text, std::set<std::string, std::less<>>& words) {
  constexpr std::string_view between = " ,;\"()=";
  while (!text.empty()) {
    const auto start = std::min(text.find_first_not_of(between), text.size());
    text.remove_prefix(start);
    const auto end = std::min(text.find_first_of(between), text.size());
    auto word = text.substr(0, end);
    while (word.ends_with(':'))
      word.remove_suffix(1);
    if (!word.empty()) words.emplace(word);
    text.remove_prefix(end);
  }
}

void add_strings(const json::value& value, std::set<std::string, std::less<>>& words) {
  if (value.is_string()) {
    words.emplace(value.get_string());
    add_words(value.get_string(), words);
  } else if (value.is_array()) {
    for (auto& item : value.get_array())
      add_strings(item, words);
  } else if (value.is_object()) {
    for (auto& [key, member] : value.get_object()) {
      if (key == "pid" && member.is_int64()) words.insert("[" + std::to_string(member.get_int64()) + "]");
      add_strings(member, words);
    }
  }
}

// Of limits by device, "7:0 131072; 7:1 1048576", the devices whose lines differ; none of a file without such
// lines.
std::set<std::string> devices_that_differ(const std::string* before, const std::string* now) {
  std::map<std::string, std::string> lines[2];
  for (auto* side : {before, now}) {
    std::string_view rest = side ? std::string_view(*side) : "";
    while (!rest.empty()) {
      const auto line = rest.substr(0, rest.find("; "));
      rest.remove_prefix(std::min(line.size() + 2, rest.size()));
      const auto device = line.substr(0, line.find(' '));
      if (device.find(':') == device.npos || device.find_first_not_of("0123456789:") != device.npos)
        return {};
      lines[side == now].emplace(device, line);
    }
  }
  std::set<std::string> out;
  for (int side : {0, 1})
    for (auto& [device, line] : lines[side])
      if (auto other = lines[1 - side].find(device); other == lines[1 - side].end() || other->second != line)
        out.insert(device);
  return out;
}

std::string_view kind_of(std::string_view thing) {
  return thing.substr(0, thing.find(' '));
}

std::string_view after(std::string_view text, std::string_view mark) {
  const auto at = text.rfind(mark);
  if (at == text.npos) return {};
  const auto rest = text.substr(at + mark.size());
  return rest.substr(0, rest.find(','));
}

}  // namespace

void Touched::add(const Fault& fault, const std::vector<Change>& changes) {
  for (auto& text : fault.targets())
    add_words(text, words_);
  for (auto& text : fault.claims())
    add_words(text, words_);
  for (auto& change : changes)
    if (change.inverse) add_strings(change.inverse->with, words_);
}

// A word that a fault used counts as a device's name only where there is, or was, such a device.
bool Touched::device(std::string_view name, const HostState& before, const HostState& now) const {
  const auto link = "link " + std::string(name);
  return words_.contains(name) && (before.contains(link) || now.contains(link));
}

bool Touched::ours(const std::string& thing, const std::string* state, const HostState& before,
                   const HostState& now) const {
  if (thing.find("sq" + session_) != thing.npos) return true;
  const auto kind = kind_of(thing);
  const auto what = std::string_view(thing).substr(std::min(kind.size() + 1, thing.size()));
  if (kind == "link") return device(what, before, now);
  if (kind == "address" || kind == "qdisc" || kind == "class" || kind == "filter")
    return device(after(thing, " of "), before, now);
  if (kind == "proxy") return device(after(thing, " on "), before, now);
  if (kind == "route" || kind == "nexthop") return state && device(after(*state, " on "), before, now);
  if (kind == "sysctl")
    return words_.contains(what) || std::any_of(words_.begin(), words_.end(), [&](auto& word) {
             auto dotted = word.starts_with("/proc/sys/") ? word.substr(10) : std::string();
             std::replace(dotted.begin(), dotted.end(), '/', '.');
             return dotted == what;
           });
  if (kind == "process") {
    const auto pid = what.substr(std::min(what.rfind('['), what.size()));
    return std::any_of(words_.begin(), words_.end(),
                       [&](auto& word) { return !pid.empty() && word.ends_with(pid); });
  }
  if (kind == "cgroup") {
    const auto was = before.find(thing), is = now.find(thing);
    const auto devices = devices_that_differ(was == before.end() ? nullptr : &was->second,
                                             is == now.end() ? nullptr : &is->second);
    if (!devices.empty() &&
        std::none_of(devices.begin(), devices.end(), [&](auto& device) { return words_.contains(device); }))
      return false;
    const auto group = what.substr(0, what.rfind(' '));
    const auto file = std::string(group) + "/" + std::string(what.substr(group.size() + 1));
    return std::any_of(words_.begin(), words_.end(), [&](auto& word) {
      return word.size() > 1 && word.starts_with('/') && (word == file || group.ends_with(word));
    });
  }
  if (kind == "mount") {
    const auto point = what.substr(0, what.find(" (over "));
    return point != "/" && std::any_of(words_.begin(), words_.end(), [&](auto& word) {
             return word == point || word.starts_with(std::string(point) + "/");
           });
  }
  return false;
}

Touched::Compared Touched::compare(const HostState& before, const HostState& now) const {
  Compared out;
  HostState theirs_before, theirs_now;
  auto sort = [&](const HostState& all, HostState& ours_here, HostState& theirs) {
    for (auto& [thing, state] : all) {
      const auto was = before.find(thing), is = now.find(thing);
      const bool our_own = ours(thing, was == before.end() ? nullptr : &was->second, before, now) ||
                           ours(thing, is == now.end() ? nullptr : &is->second, before, now);
      (our_own ? ours_here : theirs).emplace(thing, state);
    }
  };
  sort(before, out.before, theirs_before);
  sort(now, out.now, theirs_now);
  out.others = differences(theirs_before, theirs_now);
  return out;
}

HostState without(HostState state, const std::vector<std::string>& patterns) {
  std::erase_if(state, [&](auto& thing) {
    return std::any_of(patterns.begin(), patterns.end(), [&](auto& pattern) {
      return ::fnmatch(pattern.c_str(), thing.first.c_str(), 0) == 0;
    });
  });
  return state;
}

}  // namespace squall
