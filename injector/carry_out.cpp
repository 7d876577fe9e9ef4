#include "injector/carry_out.hpp"

#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>

namespace squall {
namespace {

constexpr int attempts = 4;

Undone try_once(const UndoVerb& verb, const Inverse& inverse) {
  try {
    return verb.carry_out(inverse.with);
  } catch (const std::exception& e) {
    return {UndoOutcome::failed, fmt::format("{}: {}", verb.name, e.what()), ""};
  }
}

// Held while a journal is carried out; empty where somebody finished it meanwhile.
Fd take_turn(const std::string& path) {
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd || ::flock(fd.get(), LOCK_EX) != 0) return Fd{};
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || info.st_nlink == 0) return Fd{};
  return fd;
}

}  // namespace

boost::json::object Left::json() const { return {{"step", step}, {"detail", detail}, {"by_hand", by_hand}}; }

std::optional<Left> carry_out(const std::string& step, const Inverse& inverse, FindUndoVerb find) {
  auto* verb = find(inverse.verb);
  if (!verb)
    return Left{step, fmt::format("the journal names an unknown undo \"{}\": another version of squall-injector wrote it", inverse.verb),
                "squall-injector recover, with the version that wrote the journal"};
  Undone result;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds{25 << attempt});
    result = try_once(*verb, inverse);
    if (result.outcome != UndoOutcome::failed) break;
  }
  if (result.outcome == UndoOutcome::undone || result.outcome == UndoOutcome::already) return {};
  return Left{step, result.detail, result.by_hand, result.outcome == UndoOutcome::failed};
}

std::vector<Left> carry_out_journal(const std::string& path, FindUndoVerb find) {
  const auto turn = take_turn(path);
  const auto journal = turn ? read_journal(path) : std::nullopt;
  if (!journal) return {};
  const bool same_boot = journal->boot.empty() || journal->boot == boot_id();
  std::vector<Left> left;
  std::vector<std::uint64_t> undone;
  for (auto it = journal->open.rbegin(); it != journal->open.rend(); ++it) {
    const bool survives = same_boot || it->inverse.verb.starts_with("file.");
    auto remains = survives ? carry_out(it->step, it->inverse, find) : std::nullopt;
    if (remains)
      left.push_back(std::move(*remains));
    else
      undone.push_back(it->seq);
  }
  if (journal->damaged > 0)
    left.push_back({"", fmt::format("{} records of the undo journal \"{}\" cannot be read: the disk damaged them", journal->damaged, path),
                    fmt::format("look the host over, then rm '{}'", path)});
  if (left.empty())
    ::unlink(path.c_str());
  else
    append_undone(*journal, undone);
  return left;
}

Recovered recover(const std::string& state) {
  Recovered out;
  remove_unfinished_journals(state);
  for (auto& journal : read_journals(state)) {
    if (journal.owner_alive()) continue;
    ++out.sessions;
    for (auto& left : carry_out_journal(journal.path)) out.left.push_back(std::move(left));
  }
  return out;
}

}  // namespace squall
