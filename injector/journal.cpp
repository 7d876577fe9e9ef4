#include "injector/journal.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>

#include <boost/crc.hpp>
#include <fmt/format.h>

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::int64_t chunk_bytes = 256 << 10;

std::string line_of(const json::object& record) {
  const auto text = json::serialize(record);
  boost::crc_32_type crc;
  crc.process_bytes(text.data(), text.size());
  return fmt::format("{:08x} {}\n", crc.checksum(), text);
}

std::optional<json::object> record_of(std::string_view line) {
  if (line.size() < 11 || line[8] != ' ') return {};
  const auto text = line.substr(9);
  boost::crc_32_type crc;
  crc.process_bytes(text.data(), text.size());
  if (fmt::format("{:08x}", crc.checksum()) != line.substr(0, 8)) return {};
  json::error_code error;
  auto value = json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object()) return {};
  return value.get_object();
}

std::string text_of(const json::object& record, const char* key) {
  auto* member = record.if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : "";
}

std::int64_t number_of(const json::object& record, const char* key) {
  auto* member = record.if_contains(key);
  json::error_code error;
  return member && member->is_number() ? member->to_number<std::int64_t>(error) : 0;
}

void write_all(int fd, const char* data, std::size_t size, std::int64_t at, const std::string& path) {
  while (size > 0) {
    const auto wrote = ::pwrite(fd, data, size, at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) throw std::runtime_error(fmt::format("write the undo journal \"{}\": {}", path, std::strerror(errno)));
    data += wrote;
    size -= static_cast<std::size_t>(wrote);
    at += wrote;
  }
}

}  // namespace

Journal::Journal(const std::string& state, const std::string& session) {
  std::error_code error;
  const auto folder = state + "/journal";
  fs::create_directories(folder, error);
  if (error) throw std::runtime_error(fmt::format("make the folder \"{}\": {}", folder, error.message()));
  ::chmod(folder.c_str(), 0755);
  path_ = fmt::format("{}/{}.journal", folder, session);
  fd_ = Fd{::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
  if (!fd_) throw std::runtime_error(fmt::format("make the undo journal \"{}\": {}", path_, std::strerror(errno)));
  try {
    extend();
    // Synced as a file first; from now on each write is durable by itself.
    if (::fsync(fd_.get()) != 0) throw std::runtime_error(fmt::format("sync \"{}\": {}", path_, std::strerror(errno)));
    Fd durable{::open(path_.c_str(), O_RDWR | O_DSYNC | O_CLOEXEC)};
    if (!durable) throw std::runtime_error(fmt::format("open \"{}\": {}", path_, std::strerror(errno)));
    fd_ = std::move(durable);
    Fd parent{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (parent) ::fsync(parent.get());
    auto stat = read_process_stat(::getpid());
    append({{{"k", "begin"}, {"session", session}, {"pid", ::getpid()}, {"ticks", stat ? stat->start_ticks : 0}, {"boot", boot_id()}}});
  } catch (...) {
    ::unlink(path_.c_str());
    throw;
  }
}

void Journal::extend() {
  const std::string zeros(chunk_bytes, '\0');
  write_all(fd_.get(), zeros.data(), zeros.size(), prewritten_, path_);
  prewritten_ += chunk_bytes;
}

void Journal::append(const std::vector<json::object>& records) {
  std::string text;
  for (auto& record : records) text += line_of(record);
  while (end_ + static_cast<std::int64_t>(text.size()) + 1 > prewritten_) extend();
  write_all(fd_.get(), text.data(), text.size(), end_, path_);
  end_ += static_cast<std::int64_t>(text.size());
}

void Journal::remove() { ::unlink(path_.c_str()); }

json::object intent_record(std::uint64_t seq, const std::string& step, const Inverse& inverse) {
  return {{"k", "intent"}, {"seq", seq}, {"step", step}, {"verb", inverse.verb}, {"with", inverse.with}};
}
json::object undone_record(std::uint64_t seq) { return {{"k", "undone"}, {"seq", seq}}; }
json::object ended_record(const std::string& step) { return {{"k", "ended"}, {"step", step}}; }
json::object fault_record(const JournalledFault& fault) {
  json::array claims;
  for (auto& claim : fault.claims) claims.emplace_back(claim);
  return {{"k", "fault"},       {"step", fault.step},   {"fault", fault.fault}, {"mechanism", fault.mechanism},
          {"run", fault.run},   {"since", fault.since}, {"until", fault.until}, {"claims", std::move(claims)}};
}

std::optional<JournalContent> read_journal(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) return {};
  JournalContent out;
  out.path = path;
  std::map<std::uint64_t, JournalledInverse> open;
  for (std::string line; std::getline(file, line);) {
    auto record = record_of(line);
    if (!record) break;
    const auto kind = text_of(*record, "k");
    if (kind == "begin") {
      out.session = text_of(*record, "session");
      out.boot = text_of(*record, "boot");
      out.pid = static_cast<pid_t>(number_of(*record, "pid"));
      out.start_ticks = static_cast<std::uint64_t>(number_of(*record, "ticks"));
    } else if (kind == "intent") {
      const auto seq = static_cast<std::uint64_t>(number_of(*record, "seq"));
      auto* with = record->if_contains("with");
      open[seq] = {seq, text_of(*record, "step"), {text_of(*record, "verb"), with && with->is_object() ? with->get_object() : json::object{}}};
    } else if (kind == "undone") {
      open.erase(static_cast<std::uint64_t>(number_of(*record, "seq")));
    } else if (kind == "fault") {
      JournalledFault fault{text_of(*record, "step"), text_of(*record, "fault"), text_of(*record, "mechanism"), text_of(*record, "run"), {},
                            number_of(*record, "since"), number_of(*record, "until")};
      if (auto* claims = record->if_contains("claims"); claims && claims->is_array())
        for (auto& claim : claims->get_array())
          if (claim.is_string()) fault.claims.emplace_back(claim.get_string());
      out.faults.push_back(std::move(fault));
    } else if (kind == "ended") {
      std::erase_if(out.faults, [&](auto& fault) { return fault.step == text_of(*record, "step"); });
    }
  }
  if (out.session.empty()) return {};
  for (auto& [seq, inverse] : open) out.open.push_back(std::move(inverse));
  return out;
}

std::vector<JournalContent> read_journals(const std::string& state) {
  std::vector<std::string> paths;
  std::error_code error;
  for (auto& entry : fs::directory_iterator(state + "/journal", error))
    if (entry.path().extension() == ".journal") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  std::vector<JournalContent> out;
  for (auto& path : paths)
    if (auto content = read_journal(path)) out.push_back(std::move(*content));
  return out;
}

bool JournalContent::owner_alive() const {
  if (boot != boot_id()) return false;
  auto stat = read_process_stat(pid);
  return stat && stat->start_ticks == start_ticks && stat->state != 'Z' && stat->state != 'X';
}

json::object Left::json() const { return {{"step", step}, {"detail", detail}, {"by_hand", by_hand}}; }

std::optional<Left> carry_out(const std::string& step, const Inverse& inverse) {
  auto* verb = find_undo_verb(inverse.verb);
  if (!verb) return Left{step, fmt::format("the journal names an unknown undo \"{}\": it was written by another version", inverse.verb), ""};
  Undone result;
  for (int attempt = 0; attempt < 4; ++attempt) {
    if (attempt) std::this_thread::sleep_for(std::chrono::milliseconds{25 << attempt});
    try {
      result = verb->carry_out(inverse.with);
    } catch (const std::exception& e) {
      result = {Outcome::failed, e.what(), ""};
    }
    if (result.outcome != Outcome::failed) break;
  }
  if (result.outcome == Outcome::undone || result.outcome == Outcome::already) return {};
  return Left{step, result.detail, result.by_hand};
}

std::vector<Left> carry_out(const JournalContent& journal) {
  std::vector<Left> left;
  const bool same_boot = journal.boot == boot_id();
  for (auto it = journal.open.rbegin(); it != journal.open.rend(); ++it) {
    // A reboot took everything that lives in the kernel alone; what is on disk is undone by its "file." verbs.
    if (!same_boot && !it->inverse.verb.starts_with("file.")) continue;
    if (auto remains = carry_out(it->step, it->inverse)) left.push_back(std::move(*remains));
  }
  if (left.empty()) ::unlink(journal.path.c_str());
  return left;
}

}  // namespace squall
