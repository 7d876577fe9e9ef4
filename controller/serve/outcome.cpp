// How a run came out, by what is in its folder.
#include <filesystem>
#include <fstream>

#include <boost/json.hpp>

#include "controller/serve/runner.hpp"
#include "reports/judge/verdict.hpp"
#include "scenarios/text/document.hpp"

namespace squall::serve {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string whole(const std::string& path) {
  Diagnostics unreadable{path};
  DocumentLimits limits;
  limits.bytes = std::size_t{1} << 30;
  return read_text_file(path, unreadable, limits);
}

bool by_report(StoredRun& run, const std::string& folder) {
  json::error_code wrong;
  const auto report = json::parse(whole(folder + "/report.json"), wrong);
  if (wrong || !report.is_object()) return false;
  const auto* verdict = report.get_object().if_contains("verdict");
  const auto* headline = report.get_object().if_contains("headline");
  if (!verdict || !verdict->is_string()) return false;
  run.verdict = verdict->get_string();
  if (headline && headline->is_string()) run.detail = headline->get_string();
  return true;
}

void by_record(StoredRun& run, const std::string& folder) {
  std::vector<std::string> problems;
  const auto verdict = judge(parse_record(whole(folder + "/events.jsonl"), problems));
  run.verdict = to_string(verdict.kind);
  run.detail = verdict.headline;
}

std::string last_words(const std::string& folder) {
  auto text = whole(folder + "/output.txt");
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.size() > 500 ? text.substr(text.size() - 500) : text;
}

}  // namespace

std::string record_folder(const std::string& folder) {
  std::error_code missing;
  for (auto& entry : fs::directory_iterator(fs::path(folder) / "runs", missing))
    if (!entry.is_symlink(missing) && fs::is_regular_file(entry.path() / "events.jsonl", missing))
      return entry.path().string();
  return "";
}

void read_outcome(StoredRun& run) {
  const auto folder = record_folder(run.folder);
  if (!folder.empty()) {
    if (!by_report(run, folder)) by_record(run, folder);
    return;
  }
  run.verdict = "error";
  if (run.detail.empty()) run.detail = last_words(run.folder);
  if (run.detail.empty()) run.detail = "the daemon ended before it could begin";
}

}  // namespace squall::serve
