#include "injector/session/doctor.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace squall {
namespace {

constexpr std::size_t width = 100;

bool is_possible(const Examined& one) {
  return std::any_of(one.options.begin(), one.options.end(), [](auto& option) { return option.possible; });
}

// Words, and what stands in parentheses as one word where it fits on a line: commands that are to be copied
// stand there.
std::vector<std::string_view> pieces(std::string_view text, std::size_t room) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    auto end = std::min(text.find(' '), text.size());
    if (text.front() == '(') {
      const auto close = text.find(')');
      const auto group = close == text.npos ? text.npos : std::min(text.find(' ', close), text.size());
      if (group != text.npos && group <= room) end = group;
    }
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The text behind `first`, its later lines as far in as `indent`.
std::string wrapped(std::string_view first, std::size_t indent, std::string_view text) {
  std::string out, line{first};
  bool fresh = true;
  for (auto piece : pieces(text, width - indent)) {
    if (!fresh && columns(line) + 1 + columns(piece) > width) {
      out += line + "\n";
      line.assign(indent, ' ');
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += piece;
    fresh = false;
  }
  return out + line + "\n";
}

// What is said of an option, with the word before it; only of one that matters.
std::vector<std::pair<std::string_view, std::string_view>> said_of(const Capability& option) {
  std::vector<std::pair<std::string_view, std::string_view>> out;
  if (!option.possible && !option.missing.empty()) out.emplace_back("missing", option.missing);
  if (option.possible && !option.note.empty()) out.emplace_back("note", option.note);
  if (option.possible && !option.measures.empty()) out.emplace_back("measured", option.measures);
  return out;
}

bool alike(const Capability& a, const Capability& b) {
  return a.mechanism == b.mechanism && a.possible == b.possible && a.chosen == b.chosen &&
         said_of(a) == said_of(b);
}

// Faults of which the same is to be said.
struct Group {
  std::vector<std::string_view> faults;
  const Examined* of;
};

std::vector<Group> groups_of(const std::vector<Examined>& all) {
  std::vector<Group> out;
  for (auto& one : all) {
    auto same = std::find_if(out.begin(), out.end(), [&](auto& group) {
      return std::equal(group.of->options.begin(), group.of->options.end(), one.options.begin(),
                        one.options.end(), alike);
    });
    if (same == out.end()) same = out.insert(out.end(), Group{{}, &one});
    same->faults.push_back(one.fault);
  }
  return out;
}

// What is said in several groups gets a number.
std::vector<std::string_view> said_often(const std::vector<Group>& groups) {
  std::map<std::string_view, std::vector<const Group*>> in;
  std::vector<std::string_view> out;
  for (auto& group : groups)
    for (auto& option : group.of->options)
      for (auto& [word, text] : said_of(option)) {
        auto& sayers = in[text];
        if (std::find(sayers.begin(), sayers.end(), &group) == sayers.end()) sayers.push_back(&group);
        if (sayers.size() == 2 && std::find(out.begin(), out.end(), text) == out.end()) out.push_back(text);
      }
  return out;
}

}  // namespace

std::vector<Examined> examine_host() {
  std::vector<Examined> out;
  for (auto* fault : fault_catalogue())
    out.push_back({fault->name, fault->doctor()});
  return out;
}

boost::json::array doctor_json(const std::vector<Examined>& all) {
  boost::json::array out;
  for (auto& one : all) {
    std::string mechanism;
    boost::json::array options;
    for (auto& option : one.options) {
      if (option.chosen) mechanism = option.mechanism;
      options.push_back(boost::json::object{{"mechanism", option.mechanism},
                                            {"possible", option.possible},
                                            {"chosen", option.chosen},
                                            {"missing", option.missing},
                                            {"note", option.note},
                                            {"measures", option.measures}});
    }
    out.push_back(boost::json::object{{"fault", one.fault},
                                      {"possible", is_possible(one)},
                                      {"mechanism", mechanism},
                                      {"options", std::move(options)}});
  }
  return out;
}

boost::json::object policy_json(const Policy& policy) {
  const auto findings = policy.findings();
  return {{"source", policy.source}, {"findings", boost::json::array(findings.begin(), findings.end())}};
}

std::string policy_text(const Policy& policy) {
  auto out = fmt::format("policy: {}\n", policy.source);
  for (auto& finding : policy.findings())
    out += wrapped("  ! ", 4, finding);
  return out;
}

std::string doctor_text(const std::vector<Examined>& all) {
  const auto groups = groups_of(all);
  const auto often = said_often(groups);
  std::string out;
  for (auto& group : groups) {
    out += wrapped(is_possible(*group.of) ? "✓ " : "✗ ", 2, fmt::format("{}", fmt::join(group.faults, ", ")));
    for (auto& option : group.of->options) {
      const auto mark = option.possible ? "✓" : "✗";
      std::string numbers;
      for (auto& [word, text] : said_of(option))
        if (auto found = std::find(often.begin(), often.end(), text); found != often.end())
          numbers += fmt::format(", {} [{}]", word, found - often.begin() + 1);
      out +=
          wrapped(fmt::format("    {} ", mark), 6,
                  fmt::format("{}{}{}", option.mechanism, option.chosen ? " ← would be used" : "", numbers));
      for (auto& [word, text] : said_of(option))
        if (std::find(often.begin(), often.end(), text) == often.end())
          out += wrapped("        ", 8, fmt::format("{}: {}", word, text));
    }
  }
  for (std::size_t i = 0; i < often.size(); ++i)
    out += wrapped(fmt::format("{}[{}] ", i ? "" : "\n", i + 1), 4, often[i]);
  const auto possible = std::count_if(all.begin(), all.end(), is_possible);
  return out + fmt::format("\n{} of {} faults are possible here; `squall faults NAME` tells about one\n",
                           possible, all.size());
}

}  // namespace squall
