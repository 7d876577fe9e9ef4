// The run's folder and its record: one event a line, each written before anything is done about it. Space for
// what is still to come is reserved ahead, so that a disk that fills up ends the drill in time and loses no
// line.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace squall {

class RunLog {
 public:
  using Observer = std::function<void(const boost::json::object&)>;

  // Makes `runs`/<UTC time>-<scenario>/ with an empty events.jsonl; throws std::runtime_error naming the
  // path.
  RunLog(const std::string& runs, const std::string& scenario);
  ~RunLog();
  RunLog(const RunLog&) = delete;

  // Appends an event; "t" and "at" are added here. Texts are made printable, and passwords in them are
  // redacted: the file is its owner's only (mode 0600), and reports made of it can be passed around. An
  // observer sees it after it is written.
  void add(std::string_view kind, boost::json::object event = {});
  // Runs before each event gets its time, so that what it notices is recorded first.
  void before_each(std::function<void()> look) { look_ = std::move(look); }
  void observe(Observer observer) { observers_.push_back(std::move(observer)); }
  // "" while every line could be written and room for more is reserved; then what went wrong, once and for
  // all.
  const std::string& trouble() const { return trouble_; }
  // Gives the reserve back; no event after that.
  void finish();

  std::chrono::steady_clock::time_point start() const { return start_; }
  std::int64_t now()
      const;  // nanoseconds since the start, on CLOCK_BOOTTIME: it goes on while the host sleeps
  const std::string& folder() const { return folder_; }
  std::string name() const;                          // the folder's last part
  const std::string& text() const { return text_; }  // the whole record, also kept in memory

 private:
  void reserve();
  void append(boost::json::object line);
  void note_step(std::int64_t t, std::int64_t at);
  void write(const std::string& line);

  std::string folder_, text_, trouble_;
  int fd_ = -1;
  std::int64_t written_ = 0, reserved_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::int64_t apart_ = 0, last_t_ = 0;  // CLOCK_REALTIME less the monotonic clock, and when that was
  std::int64_t boot_start_ns_;
  std::function<void()> look_;
  std::vector<Observer> observers_;
};

std::int64_t wall_clock_ns();
std::int64_t boot_clock_ns();  // CLOCK_BOOTTIME

}  // namespace squall
