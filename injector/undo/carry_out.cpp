#include "injector/undo/carry_out.hpp"

#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include "injector/system/host_log.hpp"
#include "injector/system/read_file.hpp"
#include "injector/undo/host_sessions.hpp"

namespace squall {

namespace fs = std::filesystem;

namespace {

constexpr int attempts = 4;
constexpr std::string_view noted = ".costs";

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
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0 || info.st_nlink == 0) return Fd{};
  return fd;
}

std::string name_of(const Fd& fd) {
  return fmt::format("/proc/self/fd/{}", fd.get());
}

// Its folder was taken away: whoever looks for what is left finds it where it was.
void put_back(const std::string& path, const std::string& bytes) {
  std::error_code error;
  fs::create_directories(fs::path{path}.parent_path(), error);
  const auto making = path + ".new";
  {
    std::ofstream file{making, std::ios::trunc};
    file << bytes;
    if (!file.flush()) return;
  }
  fs::rename(making, path, error);
}

// Nothing depends on it: where the disk is full it stays unsaid.
void note_costs(const std::string& journal, const std::vector<Cost>& costs) {
  if (costs.empty()) return;
  std::ofstream file{fs::path{journal}.replace_extension(noted), std::ios::app};
  for (auto& cost : costs)
    file << boost::json::serialize(cost.json()) << '\n';
}

}  // namespace

boost::json::object Cost::json() const {
  return {{"step", step}, {"text", text}};
}
boost::json::object Left::json() const {
  return {{"step", step}, {"detail", detail}, {"by_hand", by_hand}};
}

std::optional<Left> carry_out(const std::string& step, const Inverse& inverse, FindUndoVerb find,
                              std::vector<Cost>* costs) {
  auto* verb = find(inverse.verb);
  if (!verb)
    return Left{
        step,
        fmt::format("the journal names an unknown undo \"{}\": another version of squall-injector wrote it",
                    inverse.verb),
        "squall-injector recover, with the version that wrote the journal"};
  Undone result;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds{25 << attempt});
    result = try_once(*verb, inverse);
    if (result.outcome != UndoOutcome::failed) break;
  }
  if (costs && !result.cost.empty()) costs->push_back({step, result.cost});
  if (result.outcome == UndoOutcome::undone || result.outcome == UndoOutcome::already) return {};
  return Left{step, result.detail, result.by_hand, result.outcome == UndoOutcome::failed};
}

namespace {

std::string damage(const JournalContent& journal) {
  if (!journal.unreadable.empty())
    return fmt::format("the undo journal \"{}\" cannot be read: {}", journal.path, journal.unreadable);
  if (journal.boot.empty())
    return fmt::format("the undo journal \"{}\" has no beginning that can be read: the disk damaged it",
                       journal.path);
  return fmt::format("{} records of the undo journal \"{}\" cannot be read: the disk damaged them",
                     journal.damaged, journal.path);
}

struct CarriedOut {
  std::vector<Left> left;
  std::vector<std::uint64_t> undone;
};

std::string described(const Inverse& inverse, FindUndoVerb find) {
  try {
    if (auto* verb = find(inverse.verb)) return verb->describe(inverse.with);
  } catch (const std::exception&) {
  }
  return inverse.verb;
}

// What a dead session's journal came to; nothing that is undone depends on it.
void log_undone(const JournalContent& journal, const JournalledInverse& one, const Left* left,
                FindUndoVerb find) noexcept try {
  const auto who = fmt::format("session {} step \"{}\"", journal.session, one.step);
  if (left)
    log_line(LogLevel::error, fmt::format("{}: not undone: {}: {} (by hand: {})", who,
                                          described(one.inverse, find), left->detail, left->by_hand));
  else
    log_line(LogLevel::info, fmt::format("{}: undone: {}", who, described(one.inverse, find)));
} catch (const std::exception&) {
}

CarriedOut replay(const JournalContent& journal, FindUndoVerb find) {
  const HoldLogFile what_is_undone_comes_first;
  const bool same_boot = journal.boot.empty() || journal.boot == boot_id();
  CarriedOut out;
  std::vector<Cost> costs;
  for (auto it = journal.open.rbegin(); it != journal.open.rend(); ++it) {
    const bool survives = same_boot || it->inverse.verb.starts_with("file.");
    auto remains = survives ? carry_out(it->step, it->inverse, find, &costs) : std::nullopt;
    log_undone(journal, *it, remains ? &*remains : nullptr, find);
    if (remains)
      out.left.push_back(std::move(*remains));
    else
      out.undone.push_back(it->seq);
  }
  if (journal.damaged > 0) log_line(LogLevel::error, damage(journal));
  if (journal.damaged > 0)
    out.left.push_back({"", damage(journal), fmt::format("look the host over, then rm '{}'", journal.path)});
  note_costs(journal.path, costs);
  return out;
}

}  // namespace

std::vector<Left> carry_out_journal(const std::string& path, FindUndoVerb find, bool* by_us) {
  const auto turn = take_turn(path);
  auto journal = read_journal(path);
  if (!journal || (!turn && journal->unreadable.empty())) return {};
  if (by_us) *by_us = true;
  auto done = replay(*journal, find);
  // Before its name goes: who holds it open sees that it is done.
  append_undone(*journal, done.undone);
  end_session(journal->session, done.left.empty());
  if (done.left.empty()) ::unlink(path.c_str());
  return std::move(done.left);
}

std::vector<Left> carry_out_journal(const Fd& held, const std::string& path, FindUndoVerb find, bool* by_us) {
  ::flock(held.get(), LOCK_EX);
  const auto bytes = read_file(name_of(held));
  if (!bytes) return carry_out_journal(path, find, by_us);
  const auto journal = parse_journal(path, *bytes);
  if (!journal) return {};
  struct stat info{};
  const bool named = ::fstat(held.get(), &info) == 0 && info.st_nlink > 0;
  if (by_us && (named || !journal->open.empty())) *by_us = true;
  auto done = replay(*journal, find);
  append_undone(*journal, done.undone, name_of(held));
  end_session(journal->session, done.left.empty());
  std::error_code error;
  const auto name = fs::read_symlink(name_of(held), error).string();
  if (done.left.empty() && named && !error)
    ::unlink(name.c_str());
  else if (!done.left.empty() && !named)
    put_back(path, read_file(name_of(held)).value_or(*bytes));
  return std::move(done.left);
}

std::vector<Cost> take_costs(const std::string& state) {
  std::vector<Cost> out;
  std::error_code error;
  for (auto& entry : fs::directory_iterator{state + "/journal", error}) {
    if (entry.path().extension() != noted) continue;
    std::ifstream file{entry.path()};
    for (std::string line; std::getline(file, line);) {
      boost::system::error_code broken;
      const auto said = boost::json::parse(line, broken);
      if (broken || !said.is_object()) continue;
      auto text = [&](const char* key) {
        auto* value = said.get_object().if_contains(key);
        return value && value->is_string() ? std::string(value->get_string()) : std::string();
      };
      out.push_back({text("step"), text("text")});
    }
    fs::remove(entry.path(), error);
  }
  return out;
}

}  // namespace squall
