#include "controller/commands/reports.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controller/commands/input.hpp"
#include "controller/terminal/progress.hpp"
#include "reports/judge/differences.hpp"
#include "reports/judge/verdict.hpp"
#include "reports/render/render.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;

struct Judged {
  RunRecord record;
  Verdict verdict;
};

Judged judge_text(const std::string& text) {
  std::vector<std::string> problems;
  Judged out;
  out.record = parse_record(text, problems);
  out.verdict = judge(out.record);
  return out;
}

// Written beside and renamed, so that nobody ever reads half a report.
std::string write_whole(const std::string& path, const std::string& text) {
  const auto beside = path + ".part";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::size_t done = 0;
  bool ok = fd >= 0;
  while (ok && done < text.size()) {
    const auto wrote = ::write(fd, text.data() + done, text.size() - done);
    if (wrote > 0)
      done += static_cast<std::size_t>(wrote);
    else
      ok = wrote < 0 && errno == EINTR;
  }
  std::string error;
  if (!ok) error = fmt::format("write \"{}\": {}", path, std::strerror(errno));
  if (fd >= 0) ::close(fd);
  if (ok && ::rename(beside.c_str(), path.c_str()) != 0)
    error = fmt::format("write \"{}\": {}", path, std::strerror(errno));
  if (!error.empty()) ::unlink(beside.c_str());
  return error;
}

std::string write_reports(const std::string& folder, const Judged& judged) {
  std::string errors;
  auto write = [&](const char* name, const std::string& text) {
    if (auto error = write_whole(folder + "/" + name, text); !error.empty())
      errors += (errors.empty() ? "" : "; ") + error;
  };
  write("report.json", render_json(judged.record, judged.verdict));
  write("junit.xml", render_junit(judged.record, judged.verdict));
  write("report.md", render_markdown(judged.record, judged.verdict));
  write("report.html", render_html(judged.record, judged.verdict));
  return errors;
}

// A run's folder, by its path or by its name below --runs; "" and an error where its record cannot be read.
std::string record_of(const std::string& run, const std::string& runs, std::string& error) {
  std::error_code missing;
  for (auto& folder : {fs::path(run), fs::path(runs) / run}) {
    const auto file = folder / "events.jsonl";
    if (!fs::is_regular_file(file, missing)) continue;
    Diagnostics unreadable{file.string()};
    DocumentLimits limits;
    limits.bytes = std::size_t{1} << 30;
    auto text = read_text_file(file.string(), unreadable, limits);
    error = unreadable.render();
    return text;
  }
  error = fmt::format("squall: error: \"{}\" is no run: it has no events.jsonl\n", run);
  return "";
}

template <class... Parts>
void say(fmt::format_string<Parts...> format, Parts&&... parts) {
  const auto text = fmt::format(format, std::forward<Parts>(parts)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// Asked for by the command line, beside those in the run's folder.
std::string write_copies(const Arguments& arguments, const Judged& judged) {
  std::string errors;
  auto write = [&](const std::string& path, const std::string& text) {
    if (path.empty()) return;
    if (auto error = write_whole(path, text); !error.empty()) errors += (errors.empty() ? "" : "; ") + error;
  };
  write(arguments.junit, render_junit(judged.record, judged.verdict));
  write(arguments.markdown, render_markdown(judged.record, judged.verdict));
  return errors;
}

}  // namespace

std::optional<bool> whether_restored(const std::string& folder) {
  std::string error;
  const auto text = record_of(folder, "", error);
  return error.empty() ? judge_text(text).verdict.restored : std::nullopt;
}

std::vector<FinishedRun> finished_runs(const std::string& runs) {
  std::vector<FinishedRun> out;
  std::error_code missing;
  for (auto& entry : fs::directory_iterator(runs, missing)) {
    std::string error;
    if (entry.is_symlink(missing) || !fs::is_regular_file(entry.path() / "events.jsonl", missing)) continue;
    const auto judged = judge_text(record_of(entry.path().string(), "", error));
    if (!error.empty() || !judged.record.ended) continue;
    out.push_back({entry.path().filename().string(), fs::absolute(entry.path(), missing).string(),
                   judged.record.scenario_name, std::string(to_string(judged.verdict.kind)),
                   judged.record.started_by, judged.record.wall_start_ns});
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return out;
}

int finish_run(RunLog& log, const Arguments& arguments) {
  const auto trouble = log.trouble();
  log.finish();
  const auto judged = judge_text(log.text());
  auto errors = write_reports(log.folder(), judged);
  if (auto more = write_copies(arguments, judged); !more.empty())
    errors += (errors.empty() ? "" : "; ") + more;
  // Nobody may be reading any more; the exit code is the drill's all the same.
  if (arguments.json())
    say("{}\n", render_json(judged.record, judged.verdict));
  else
    say("{}\nreports in {}\n",
        render_terminal(judged.record, judged.verdict, wants_color(arguments, STDOUT_FILENO),
                        terminal_columns(STDOUT_FILENO)),
        fs::absolute(log.folder()).lexically_normal().string() + "/");
  const int code = exit_code(judged.verdict);
  if (errors.empty() && trouble.empty()) return code;
  complain(errors.empty() ? trouble : errors);
  return code == exit_not_restored ? code : exit_could_not_run;
}

int report_command(const Arguments& arguments) {
  std::string error;
  const auto text = record_of(arguments.files.at(0), arguments.runs, error);
  if (!error.empty()) {
    fmt::print(stderr, "{}", error);
    return exit_input;
  }
  const auto judged = judge_text(text);
  const auto format = arguments.json() ? "json" : arguments.format;
  const auto out = format == "html"    ? render_html(judged.record, judged.verdict)
                   : format == "json"  ? render_json(judged.record, judged.verdict)
                   : format == "junit" ? render_junit(judged.record, judged.verdict)
                   : format == "markdown"
                       ? render_markdown(judged.record, judged.verdict)
                       : render_terminal(judged.record, judged.verdict, wants_color(arguments, STDOUT_FILENO),
                                         terminal_columns(STDOUT_FILENO));
  fmt::print("{}\n", out);
  return exit_pass;
}

int compare_command(const Arguments& arguments) {
  if (arguments.files.size() != 2) {
    complain(fmt::format("expected two runs to compare, got {}", arguments.files.size()));
    return exit_input;
  }
  std::string first_error, second_error;
  const auto first = record_of(arguments.files.at(0), arguments.runs, first_error);
  const auto second = record_of(arguments.files.at(1), arguments.runs, second_error);
  if (!first_error.empty() || !second_error.empty()) {
    fmt::print(stderr, "{}{}", first_error, second_error);
    return exit_input;
  }
  const auto a = judge_text(first), b = judge_text(second);
  if (arguments.json()) {
    boost::json::array all;
    for (auto& difference : differences_between(a.record, a.verdict, b.record, b.verdict))
      all.emplace_back(difference);
    fmt::print("{}\n", boost::json::serialize(all));
    return exit_pass;
  }
  fmt::print("{}\n", render_comparison(a.record, a.verdict, b.record, b.verdict));
  return exit_pass;
}

}  // namespace squall
