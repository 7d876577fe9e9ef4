#include "scenarios/model/samples.hpp"

#include <filesystem>

namespace squall {
namespace {

constexpr std::string_view blank = " \t\r";

// One line's value without the blanks around it and what follows a #; empty where there is none.
std::string_view value_of(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const auto begin = line.find_first_not_of(blank);
  if (begin == std::string_view::npos) return line.substr(line.size());
  return line.substr(begin, line.find_last_not_of(blank) - begin + 1);
}

Parsed<Duration> parse_sample(std::string_view text) {
  const bool bare = text.find_first_not_of("-0123456789.") == std::string_view::npos;
  auto parsed = parse_duration(bare ? fmt::format("{}ms", text) : std::string(text));
  if (!parsed || *parsed <= Samples::longest) return parsed;
  return tl::unexpected(
      fmt::format("expected a delay of 0 to {}, got {}", to_string(Samples::longest), to_string(*parsed)));
}

Value as_list(const std::vector<Duration>& delays, Place place) {
  Value out;
  out.kind = Value::Kind::list;
  out.place = place;
  for (auto& delay : delays)
    out.items.push_back(Value::scalar(to_string(delay))), out.items.back().place = place;
  return out;
}

}  // namespace

bool Codec<Samples>::decode(const Value& value, Samples& out, Diagnostics& diagnostics) {
  if (value.kind == Value::Kind::list)
    return Codec<std::vector<Duration>>::decode(value, out.delays, diagnostics);
  if (value.kind == Value::Kind::scalar && !value.text.empty()) {
    out.file = value.text;
    return true;
  }
  diagnostics.error(
      value.place,
      fmt::format("expected a list of durations, or a file with one a line, got {}", value.describe()));
  return false;
}

boost::json::object Codec<Samples>::schema() {
  const boost::json::object list{
      {"type", "array"}, {"items", Codec<Duration>::schema()}, {"minItems", Samples::least}};
  return {{"anyOf", boost::json::array{list, boost::json::object{{"type", "string"}, {"pattern", "."}}}}};
}

std::string describe(const SampleFile& of) {
  auto sorted = of.delays;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return fmt::format("{} recorded delays of {}, median {:.6g} ms", sorted.size(), of.file,
                     middle == sorted.end() ? 0 : middle->milliseconds());
}

std::vector<Duration> read_samples(std::string_view text, Diagnostics& diagnostics) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<Duration> out;
  Place last{1, 1};
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto value = value_of(text.substr(0, end));
    if (!value.empty()) {
      last = {number, static_cast<int>(value.data() - text.data()) + 1};
      if (out.size() == Samples::most) {
        diagnostics.error(last, fmt::format("expected {} delays at most, this is one more", Samples::most));
        return out;
      }
      const auto parsed = parse_sample(value);
      if (!parsed) diagnostics.error(last, parsed.error());
      out.push_back(parsed.value_or(Duration{}));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (out.size() < Samples::least)
    diagnostics.error(last, fmt::format("expected {} to {} delays, one a line, got {}", Samples::least,
                                        Samples::most, out.size()));
  return out;
}

std::optional<SampleFile> put_samples_inline(Value& with, const ObjectSchema& parameters,
                                             const std::string& folder, Diagnostics& diagnostics,
                                             std::string& errors) {
  for (auto& field : parameters.fields()) {
    if (field.type != Codec<Samples>::name()) continue;
    for (auto& member : with.members) {
      auto& value = member.value;
      if (member.key != field.name || value.kind != Value::Kind::scalar || value.text.empty()) continue;
      const auto path = (std::filesystem::path(folder) / value.text).string();
      Diagnostics unreadable;
      const auto text = read_text_file(path, unreadable);
      for (auto& why : unreadable.errors())
        diagnostics.error(value.place,
                          fmt::format("the samples in {} cannot be had: {}", quote(value.text), why.message));
      if (!unreadable.ok()) return std::nullopt;
      Diagnostics wrong{path, text};
      SampleFile out{value.text, read_samples(text, wrong)};
      errors += wrong.render();
      if (!wrong.ok()) return std::nullopt;
      value = as_list(out.delays, value.place);
      return out;
    }
  }
  return std::nullopt;
}

}  // namespace squall
