#include "injector/undo/journal.hpp"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <fmt/format.h>
#include <boost/crc.hpp>

#include "injector/system/read_file.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::int64_t chunk_bytes = 256 << 10;
constexpr std::int64_t compact_from = 128 << 10;
constexpr std::int64_t closing_bytes =
    512;  // no "undone" or "ended" record is longer (a step is named in 200 bytes at most)

std::string checksum(std::string_view text) {
  boost::crc_32_type crc;
  crc.process_bytes(text.data(), text.size());
  return fmt::format("{:08x}", crc.checksum());
}

std::string line_of(const json::object& record) {
  const auto text = json::serialize(record);
  return fmt::format("{} {}\n", checksum(text), text);
}

std::optional<json::object> record_of(std::string_view line) {
  constexpr std::size_t prefix = 9;
  if (line.size() <= prefix || line[prefix - 1] != ' ' ||
      checksum(line.substr(prefix)) != line.substr(0, prefix - 1))
    return {};
  json::error_code error;
  json::parse_options options;
  options.allow_invalid_utf8 = true;  // paths are bytes, and an inverse has to find them again
  auto value = json::parse({line.data() + prefix, line.size() - prefix}, error, {}, options);
  if (error || !value.is_object()) return {};
  return std::move(value.get_object());
}

std::string text_of(const json::object& record, const char* key) {
  auto* member = record.if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : "";
}

template <class Number = std::int64_t>
Number number_of(const json::object& record, const char* key) {
  auto* member = record.if_contains(key);
  json::error_code error;
  return member && member->is_number() ? member->to_number<Number>(error) : 0;
}

[[noreturn]] void fail(std::string_view attempt, const std::string& path) {
  throw std::runtime_error(fmt::format("{} \"{}\": {}", attempt, path, std::strerror(errno)));
}

bool write_all(int fd, std::string_view data, std::int64_t at) {
  while (!data.empty()) {
    const auto wrote = ::pwrite(fd, data.data(), data.size(), at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(wrote));
    at += wrote;
  }
  return true;
}

// What the records read so far add up to.
class Reading {
 public:
  explicit Reading(const std::string& path) {
    out_.path = path;
    out_.session = fs::path(path).stem();
  }

  void take(const json::object& record) {
    const auto kind = text_of(record, "k");
    if (kind == "begin") begin(record);
    if (kind == "intent") intent(record);
    if (kind == "fault") fault(record);
    if (kind == "undone") open_.erase(number_of<std::uint64_t>(record, "seq"));
    if (kind == "ended")
      std::erase_if(out_.faults, [&](auto& fault) { return fault.step == text_of(record, "step"); });
  }

  JournalContent finish(int damaged, std::int64_t end) {
    for (auto& [seq, inverse] : open_)
      out_.open.push_back(std::move(inverse));
    out_.damaged = damaged;
    out_.end = end;
    return std::move(out_);
  }

 private:
  void begin(const json::object& record) {
    out_.boot = text_of(record, "boot");
    out_.pid = number_of<pid_t>(record, "pid");
    out_.start_ticks = number_of<std::uint64_t>(record, "ticks");
  }
  void intent(const json::object& record) {
    const auto seq = number_of<std::uint64_t>(record, "seq");
    auto* with = record.if_contains("with");
    open_[seq] = {seq,
                  text_of(record, "step"),
                  {text_of(record, "verb"), with && with->is_object() ? with->get_object() : json::object{}}};
  }
  void fault(const json::object& record) {
    JournalledFault fault{text_of(record, "step"),
                          text_of(record, "fault"),
                          text_of(record, "mechanism"),
                          text_of(record, "run"),
                          {},
                          number_of(record, "since"),
                          number_of(record, "until"),
                          number_of<std::uint64_t>(record, "netns")};
    if (auto* claims = record.if_contains("claims"); claims && claims->is_array())
      for (auto& claim : claims->get_array())
        if (claim.is_string()) fault.claims.emplace_back(claim.get_string());
    out_.faults.push_back(std::move(fault));
  }

  JournalContent out_;
  std::map<std::uint64_t, JournalledInverse> open_;
};

constexpr const char* unfinished = ".new";

}  // namespace

std::string journal_path(const std::string& state, const std::string& session) {
  return fmt::format("{}/journal/{}.journal", state, session);
}

Journal::Journal(const std::string& state, const std::string& session)
    : folder_(state + "/journal"), session_(session), path_(journal_path(state, session)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw std::runtime_error(fmt::format("make the folder \"{}\": {}", folder_, error.message()));
  if (fs::exists(path_, error))
    throw std::runtime_error(fmt::format("make the undo journal \"{}\": it is there already", path_));
  begin_file(path_);
}

// The file is whole and synced under a name of its own first: nobody ever reads a journal without a
// beginning.
void Journal::begin_file(const std::string& path) {
  const auto making = path + unfinished;
  ::unlink(making.c_str());
  Fd fd{::open(making.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_DSYNC, 0644)};
  if (!fd) fail("make the undo journal", making);
  ::flock(fd.get(), LOCK_EX | LOCK_NB);
  std::swap(fd, fd_);
  const auto old_end = std::exchange(end_, 0), old_prewritten = std::exchange(prewritten_, 0),
             old_open = std::exchange(open_, 0);
  try {
    extend();
    const auto self = read_process_stat(::getpid());
    append({{{"k", "begin"},
             {"session", session_},
             {"pid", ::getpid()},
             {"ticks", self ? self->start_ticks : 0},
             {"boot", boot_id()}}});
    if (::fsync(fd_.get()) != 0) fail("sync the undo journal", making);
    if (::rename(making.c_str(), path.c_str()) != 0) fail("name the undo journal", path);
    Fd folder{::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder || ::fsync(folder.get()) != 0) fail("sync the folder", folder_);
    ::flock(fd_.get(), LOCK_UN);  // whoever carries it out takes it
  } catch (...) {
    ::unlink(making.c_str());
    std::swap(fd, fd_);
    end_ = old_end, prewritten_ = old_prewritten, open_ = old_open;
    throw;
  }
}

void Journal::extend() {
  if (!write_all(fd_.get(), std::string(chunk_bytes, '\0'), prewritten_))
    fail("make room in the undo journal", path_);
  prewritten_ += chunk_bytes;
}

void Journal::append(const std::vector<json::object>& records) {
  std::string text;
  auto open = open_;
  for (auto& record : records) {
    const auto kind = text_of(record, "k");
    open += kind == "intent" || kind == "fault" ? 1 : kind == "undone" || kind == "ended" ? -1 : 0;
    text += line_of(record);
  }
  const auto size = static_cast<std::int64_t>(text.size());
  while (end_ + size + std::max<std::int64_t>(open, 0) * closing_bytes >= prewritten_)
    extend();
  if (!write_all(fd_.get(), text, end_)) {
    const auto why = errno;
    write_all(fd_.get(), std::string(text.size(), '\0'), end_);  // what did get there announces nothing
    errno = why;
    fail("write the undo journal", path_);
  }
  end_ += size;
  open_ = open;
}

bool Journal::compact() {
  if (open_ > 0 || end_ < compact_from) return false;
  try {
    begin_file(path_);
    return true;
  } catch (const std::exception&) {
    return false;  // The old file goes on.
  }
}

void Journal::remove() {
  ::unlink(path_.c_str());
}

json::object intent_record(std::uint64_t seq, const std::string& step, const Inverse& inverse) {
  return {{"k", "intent"}, {"seq", seq}, {"step", step}, {"verb", inverse.verb}, {"with", inverse.with}};
}
json::object undone_record(std::uint64_t seq) {
  return {{"k", "undone"}, {"seq", seq}};
}
json::object ended_record(const std::string& step) {
  return {{"k", "ended"}, {"step", step}};
}
json::object fault_record(const JournalledFault& fault) {
  json::array claims;
  for (auto& claim : fault.claims)
    claims.emplace_back(claim);
  return {{"k", "fault"},
          {"step", fault.step},
          {"fault", fault.fault},
          {"mechanism", fault.mechanism},
          {"run", fault.run},
          {"since", fault.since},
          {"until", fault.until},
          {"claims", std::move(claims)},
          {"netns", fault.network_namespace}};
}

// What a write that broke off leaves: the beginning of a line, and zeros behind it. Nothing else does.
static bool torn(std::string_view tail) {
  for (std::size_t i = 0; i < tail.size(); ++i) {
    const auto byte = static_cast<unsigned char>(tail[i]);
    if (i < 8 ? !std::isxdigit(byte) : i == 8 ? byte != ' ' : i == 9 ? byte != '{' : byte < ' ') return false;
  }
  return true;
}

std::optional<JournalContent> parse_journal(const std::string& path, std::string_view text) {
  Reading reading{path};
  bool begun = false;
  int damaged = 0;
  std::int64_t whole = 0;
  const auto take = [&](std::string_view line) {
    auto record = record_of(line);
    if (!record) return false;
    begun = begun || text_of(*record, "k") == "begin";
    reading.take(*record);
    return true;
  };
  std::size_t at = 0;
  for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    // A line with its end was written to its end: where its sum is wrong, somebody changed it since.
    if (!take(text.substr(at, end - at))) ++damaged;
    whole = static_cast<std::int64_t>(end) + 1;
  }
  const auto tail = text.substr(at, text.find('\0', at) - at);
  if (take(tail) ||
      (!tail.empty() &&
       take(tail.substr(0, tail.size() - 1))))  // all but its line feed, or another byte in its place
    whole = static_cast<std::int64_t>(at + tail.size()) + 1;
  else if (!torn(tail) || text.find_first_not_of('\0', at + tail.size()) != text.npos)
    ++damaged, whole = static_cast<std::int64_t>(text.size());
  if (!begun && damaged == 0) return {};
  return reading.finish(damaged, whole);
}

std::optional<JournalContent> read_journal(const std::string& path) {
  const auto text = read_file(path);
  if (text) {
    auto out = parse_journal(path, *text);
    // Made under another name and synced before it gets its own: never without a beginning.
    if (!out && path.ends_with(".journal")) out = Reading{path}.finish(1, 0);
    return out;
  }
  if (errno == ENOENT || errno == ENOTDIR) return {};
  auto out = Reading{path}.finish(1, 0);
  out.unreadable = std::strerror(errno);
  return out;
}

std::vector<JournalContent> read_journals(const std::string& state, const std::string& except) {
  std::vector<std::string> paths;
  for (auto& path : entries(state + "/journal"))
    if (path.extension() == ".journal" && path.stem() != except) paths.push_back(path.string());
  std::sort(paths.begin(), paths.end());
  std::vector<JournalContent> out;
  for (auto& path : paths)
    if (auto content = read_journal(path)) out.push_back(std::move(*content));
  return out;
}

// Whoever makes a journal holds its lock from the moment it is there, or almost.
static bool is_being_made(const std::string& path) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd || ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0) return true;
    if (attempt == 0) std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return false;
}

void remove_unfinished_journals(const std::string& state) {
  std::error_code error;
  for (auto& path : entries(state + "/journal")) {
    if (path.extension() != unfinished) continue;
    if (const auto begun = read_journal(path.string());
        begun ? begun->owner_alive() : is_being_made(path.string()))
      continue;
    fs::remove(path, error);
  }
}

void append_undone(const JournalContent& journal, const std::vector<std::uint64_t>& seqs,
                   const std::string& file) {
  if (seqs.empty()) return;
  std::string text;
  for (auto seq : seqs)
    text += line_of(undone_record(seq));
  Fd fd{::open((file.empty() ? journal.path : file).c_str(), O_RDWR | O_DSYNC | O_CLOEXEC)};
  if (fd) write_all(fd.get(), text, journal.end);
}

std::string JournalContent::state() const {
  return fs::path{path}.parent_path().parent_path().string();
}

bool JournalContent::owner_alive() const {
  if (boot != boot_id()) return false;
  auto stat = read_process_stat(pid);
  return stat && stat->start_ticks == start_ticks && !stat->ended();
}

}  // namespace squall
