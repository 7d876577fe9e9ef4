#include "injector/host/processes/limits.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "injector/system/process.hpp"

namespace squall::limits {
namespace {

// prlimit(2) takes a pid: looked at before and after, so that none that was used again is meant.
void set(pid_t pid, std::uint64_t ticks, int resource, rlimit value) {
  if (!open_process(pid, ticks)) throw std::runtime_error("it has ended meanwhile");
  if (::prlimit(pid, static_cast<__rlimit_resource>(resource), &value, nullptr) != 0)
    throw std::runtime_error(std::strerror(errno));
}

}  // namespace

std::optional<rlimit> read(const Process& process, Resource resource) {
  rlimit out{};
  if (!is_alive(process) ||
      ::prlimit(process.pid, static_cast<__rlimit_resource>(resource.number), nullptr, &out) != 0)
    return {};
  return out;
}

void lower(Transaction& transaction, const Process& process, Resource resource, rlim_t to) {
  const auto before = read(process, resource);
  if (!before) throw std::runtime_error(process.to_string() + " has ended");
  if (before->rlim_cur <= to)
    throw std::runtime_error(fmt::format("{} may have {} {} already, no more than {}", process.to_string(),
                                         before->rlim_cur, resource.name, to));
  Change change;
  change.what = fmt::format("lower the limit of {} of {} from {} to {}", resource.name, process.to_string(),
                            before->rlim_cur, to);
  change.inverse = Inverse{"process.limit",
                           {{"pid", process.pid},
                            {"start_ticks", process.start_ticks},
                            {"name", process.to_string()},
                            {"resource", resource.number},
                            {"called", resource.name},
                            {"before", before->rlim_cur},
                            {"hard", before->rlim_max},
                            {"ours", to}}};
  change.act = [process, number = resource.number, value = rlimit{to, before->rlim_max}] {
    set(process.pid, process.start_ticks, number, value);
  };
  transaction.add(std::move(change));
}

}  // namespace squall::limits

namespace squall::undo {
namespace {

std::string describe(const boost::json::object& with) {
  return fmt::format("set the limit of {} of {} to {} again", with.at("called").as_string().c_str(),
                     with.at("name").as_string().c_str(), with.at("before").to_number<std::uint64_t>());
}

Undone carry_out(const boost::json::object& with) {
  const auto pid = with.at("pid").to_number<pid_t>();
  const auto resource = with.at("resource").to_number<int>();
  const auto before = with.at("before").to_number<rlim_t>(), ours = with.at("ours").to_number<rlim_t>();
  const auto by_hand = fmt::format("prlimit --pid {} (resource {}) back to {}", pid, resource, before);
  const auto pidfd = open_process(pid, with.at("start_ticks").to_number<std::uint64_t>());
  rlimit now{};
  if (!pidfd || ::prlimit(pid, static_cast<__rlimit_resource>(resource), nullptr, &now) != 0)
    return {UndoOutcome::already};
  if (now.rlim_cur == before) return {UndoOutcome::already};
  if (now.rlim_cur != ours)
    return {UndoOutcome::conflict,
            fmt::format("the limit is {} by now, which is neither ours nor the one before: left alone",
                        now.rlim_cur),
            by_hand};
  const rlimit again{before, std::max(now.rlim_max, before)};
  if (::prlimit(pid, static_cast<__rlimit_resource>(resource), &again, nullptr) != 0)
    return {UndoOutcome::failed, fmt::format("{}: {}", describe(with), std::strerror(errno)), by_hand};
  return {UndoOutcome::undone};
}

}  // namespace

extern const UndoVerb process_limit;
const UndoVerb process_limit{"process.limit", describe, carry_out, {"process"}};

}  // namespace squall::undo
