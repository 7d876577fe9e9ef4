#include "injector/host/storage/device_limit.hpp"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstring>

#include "injector/system/read_file.hpp"

namespace squall::cgroup {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view take_word(std::string_view& line) {
  auto end = std::min(line.find(' '), line.size());
  auto word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

}  // namespace

std::string limit_text(Limit limit) {
  return limit ? std::to_string(*limit) : "no limit";
}

DeviceLimit device_limit(Version version, const std::string& folder, const std::string& device,
                         Limited what) {
  static constexpr const char* fields[] = {"rbps", "wbps", "riops", "wiops"};
  static constexpr const char* files[] = {"read_bps", "write_bps", "read_iops", "write_iops"};
  auto index = static_cast<std::size_t>(what);
  if (version == Version::v2) return {folder + "/io.max", device, fields[index]};
  return {fmt::format("{}/blkio.throttle.{}_device", folder, files[index]), device, ""};
}

std::string DeviceLimit::to_string() const {
  return field.empty() ? fmt::format("{} in {}", device, file)
                       : fmt::format("{} of {} in {}", field, device, file);
}

std::string DeviceLimit::line(Limit limit) const {
  if (field.empty()) return fmt::format("{} {}", device, limit.value_or(0));
  return fmt::format("{} {}={}", device, field, limit ? std::to_string(*limit) : "max");
}

// v1: "8:0 1048576"; v2: "8:0 rbps=max wbps=1048576 riops=max wiops=max". A device without limits has no
// line.
Limit DeviceLimit::parse(std::string_view text) const {
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (take_word(line) != device) continue;
    if (field.empty()) return number(take_word(line));
    while (!line.empty())
      if (auto word = take_word(line); word.starts_with(field + "="))
        return number(word.substr(field.size() + 1));
  }
  return std::nullopt;
}

tl::expected<Limit, int> read_limit(const DeviceLimit& limit) {
  auto text = read_file(limit.file);
  if (!text) return tl::unexpected(errno);
  return limit.parse(*text);
}

void write_limit(const DeviceLimit& where, Limit limit) {
  write_file(where.file, where.line(limit), fmt::format("write \"{}\" to {}", where.line(limit), where.file));
}

std::uint64_t Ladder::rung(int index) const {
  auto value = static_cast<double>(full_) * std::pow(1.1, index);
  return index == 0 ? full_ : static_cast<std::uint64_t>(value) | 1;
}

std::uint64_t Ladder::at(double level, Limit before) const {
  auto value = rung(static_cast<int>(std::lround(rungs * (1 - std::clamp(level, 0.0, 1.0)))));
  return before ? std::min(value, *before) : value;
}

bool Ladder::holds(std::uint64_t value) const {
  for (int index = 0; index <= rungs; ++index)
    if (rung(index) == value) return true;
  return false;
}

void limit_device(Transaction& transaction, const DeviceLimit& where, const Ladder& ladder, double level,
                  Limit before) {
  auto value = ladder.at(level, before);
  Change change{.what = fmt::format("set {} to {} (was {})", where.to_string(), value, limit_text(before))};
  change.inverse = Inverse{"cgroup.device_limit",
                           {{"file", where.file},
                            {"device", where.device},
                            {"field", where.field},
                            {"before", before ? boost::json::value(*before) : boost::json::value(nullptr)},
                            {"full", ladder.full()},
                            {"identity", identity(where.file.substr(0, where.file.rfind('/')))}}};
  change.act = [where, value, before] {
    auto now = read_limit(where);
    if (now && *now != before)
      throw std::runtime_error(fmt::format("somebody else set it to {} just now", limit_text(*now)));
    write_limit(where, value);
  };
  transaction.add(std::move(change));
}

}  // namespace squall::cgroup

namespace squall::undo {
namespace {

using cgroup::Limit;

cgroup::DeviceLimit place(const boost::json::object& with) {
  auto text = [&](const char* key) { return std::string(with.at(key).as_string()); };
  return {text("file"), text("device"), text("field")};
}

Limit before(const boost::json::object& with) {
  auto& value = with.at("before");
  return value.is_null() ? Limit{} : value.to_number<std::uint64_t>();
}

std::string describe(const boost::json::object& with) {
  return fmt::format("set {} back to {}", place(with).to_string(), cgroup::limit_text(before(with)));
}

// As it is now, whatever its group's name is; nothing where it is gone. With the folder, its limits went; and
// with the file, which goes when its controller is disabled.
std::optional<cgroup::DeviceLimit> find(const boost::json::object& with) {
  auto where = place(with);
  const auto end = where.file.rfind('/');
  const auto folder =
      cgroup::find_again(where.file.substr(0, end), with.at("identity").to_number<std::uint64_t>());
  where.file = folder + where.file.substr(end);
  if (folder.empty() || (access(where.file.c_str(), F_OK) != 0 && errno == ENOENT)) return {};
  return where;
}

Undone carry_out(const boost::json::object& with) {
  const auto there = find(with);
  if (!there) return {UndoOutcome::already};
  auto& where = *there;
  auto previous = before(with);
  auto by_hand = fmt::format("echo \"{}\" > {}", where.line(previous), where.file);
  auto now = cgroup::read_limit(where);
  if (!now)
    return {UndoOutcome::failed, fmt::format("read {}: {}", where.file, std::strerror(now.error())), by_hand};
  if (*now == previous) return {UndoOutcome::already};
  cgroup::Ladder ladder(with.at("full").to_number<std::uint64_t>());
  if (!*now || !ladder.holds(**now))
    return {
        UndoOutcome::conflict,
        fmt::format("{} is {}, neither our {} nor the {} before it: somebody changed it since",
                    where.to_string(), cgroup::limit_text(*now), ladder.full(), cgroup::limit_text(previous)),
        by_hand};
  try {
    cgroup::write_limit(where, previous);
  } catch (const std::exception& error) {
    return {UndoOutcome::failed, error.what(), by_hand};
  }
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb cgroup_device_limit;
const UndoVerb cgroup_device_limit{"cgroup.device_limit", describe, carry_out, {"cgroup"}};

}  // namespace squall::undo
