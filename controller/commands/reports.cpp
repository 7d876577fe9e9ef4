#include "controller/commands/reports.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "controller/commands/input.hpp"
#include "reports/render.hpp"
#include "reports/verdict.hpp"

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
  if (ok && ::rename(beside.c_str(), path.c_str()) != 0) error = fmt::format("write \"{}\": {}", path, std::strerror(errno));
  if (!error.empty()) ::unlink(beside.c_str());
  return error;
}

std::string write_reports(const std::string& folder, const Judged& judged) {
  std::string errors;
  auto write = [&](const char* name, const std::string& text) {
    if (auto error = write_whole(folder + "/" + name, text); !error.empty()) errors += (errors.empty() ? "" : "; ") + error;
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

}  // namespace

int finish_run(RunLog& log, const Arguments& arguments) {
  const auto trouble = log.trouble();
  log.finish();
  const auto judged = judge_text(log.text());
  const auto errors = write_reports(log.folder(), judged);
  if (arguments.json())
    fmt::print("{}\n", render_json(judged.record, judged.verdict));
  else
    fmt::print("{}\nreports in {}\n", render_terminal(judged.record, judged.verdict, wants_color(arguments, STDOUT_FILENO)),
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
  const auto out = format == "html"       ? render_html(judged.record, judged.verdict)
                   : format == "json"     ? render_json(judged.record, judged.verdict)
                   : format == "junit"    ? render_junit(judged.record, judged.verdict)
                   : format == "markdown" ? render_markdown(judged.record, judged.verdict)
                                          : render_terminal(judged.record, judged.verdict, wants_color(arguments, STDOUT_FILENO));
  fmt::print("{}\n", out);
  return exit_pass;
}

int compare_command(const Arguments& arguments) {
  std::string first_error, second_error;
  const auto first = record_of(arguments.files.at(0), arguments.runs, first_error);
  const auto second = record_of(arguments.files.at(1), arguments.runs, second_error);
  if (!first_error.empty() || !second_error.empty()) {
    fmt::print(stderr, "{}{}", first_error, second_error);
    return exit_input;
  }
  const auto a = judge_text(first), b = judge_text(second);
  fmt::print("{}\n", render_comparison(a.record, a.verdict, b.record, b.verdict));
  return exit_pass;
}

}  // namespace squall
