#include "injector/carry_out.hpp"

#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>

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
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || info.st_nlink == 0) return Fd{};
  return fd;
}

// Nothing depends on it: where the disk is full it stays unsaid.
void note_costs(const std::string& journal, const std::vector<Cost>& costs) {
  if (costs.empty()) return;
  std::ofstream file{fs::path{journal}.replace_extension(noted), std::ios::app};
  for (auto& cost : costs) file << boost::json::serialize(cost.json()) << '\n';
}

}  // namespace

boost::json::object Cost::json() const { return {{"step", step}, {"text", text}}; }
boost::json::object Left::json() const { return {{"step", step}, {"detail", detail}, {"by_hand", by_hand}}; }

std::optional<Left> carry_out(const std::string& step, const Inverse& inverse, FindUndoVerb find, std::vector<Cost>* costs) {
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
  if (costs && !result.cost.empty()) costs->push_back({step, result.cost});
  if (result.outcome == UndoOutcome::undone || result.outcome == UndoOutcome::already) return {};
  return Left{step, result.detail, result.by_hand, result.outcome == UndoOutcome::failed};
}

std::vector<Left> carry_out_journal(const std::string& path, FindUndoVerb find, bool* by_us) {
  const auto turn = take_turn(path);
  const auto journal = turn ? read_journal(path) : std::nullopt;
  if (!journal) return {};
  if (by_us) *by_us = true;
  const bool same_boot = journal->boot.empty() || journal->boot == boot_id();
  std::vector<Left> left;
  std::vector<Cost> costs;
  std::vector<std::uint64_t> undone;
  for (auto it = journal->open.rbegin(); it != journal->open.rend(); ++it) {
    const bool survives = same_boot || it->inverse.verb.starts_with("file.");
    auto remains = survives ? carry_out(it->step, it->inverse, find, &costs) : std::nullopt;
    if (remains)
      left.push_back(std::move(*remains));
    else
      undone.push_back(it->seq);
  }
  if (journal->damaged > 0)
    left.push_back({"", fmt::format("{} records of the undo journal \"{}\" cannot be read: the disk damaged them", journal->damaged, path),
                    fmt::format("look the host over, then rm '{}'", path)});
  note_costs(path, costs);
  if (left.empty())
    ::unlink(path.c_str());
  else
    append_undone(*journal, undone);
  return left;
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

void Recovered::carry_out(const JournalContent& journal) {
  bool by_us = false;
  ++sessions;
  for (auto& one : carry_out_journal(journal.path, find_undo_verb, &by_us)) left.push_back(std::move(one));
  if (by_us) carried_out.push_back(journal.session);
}

Recovered recover(const std::string& state) {
  Recovered out;
  remove_unfinished_journals(state);
  for (auto& journal : read_journals(state))
    if (!journal.owner_alive()) out.carry_out(journal);
  return out;
}

}  // namespace squall
