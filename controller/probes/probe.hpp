// What every kind of probe is: it can be asked, and answers later.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "reports/record/record.hpp"

namespace squall {

struct ProbeAnswer {
  bool ok = false;
  std::string error;  // short, for a person: "connection refused", "status 503 (expected 200)"
  int code = 0;       // http status
  std::optional<ProbePhases> phases;
  bool opened = false;  // by a connection that was made for it
  bool unasked =
      false;  // nothing was sent: this host has no port, no descriptor, no memory for it; `error` says which
};

// One question that is on its way. Destroying it gives up: connections are closed, a command's processes are
// killed.
class Question : public std::enable_shared_from_this<Question> {
 public:
  using Done = std::function<void(ProbeAnswer)>;

  explicit Question(Done done) : done_(std::move(done)) {}
  virtual ~Question() = default;
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
  // The near end of its connection (own_end.hpp), answered or not; "" where it has none, or it is not known.
  virtual std::string local() const { return ""; }

 protected:
  // The first call counts.
  void answer(ProbeAnswer with) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(with));
  }
  void succeed() { answer({.ok = true, .opened = opened_}); }
  void fail(std::string error) { answer({.ok = false, .error = std::move(error), .opened = opened_}); }
  // It is our own fault that nothing was asked, and no failure of the service.
  void could_not_ask(const std::string& why) {
    answer({.error = "could not be asked: " + why, .unasked = true});
  }
  void note_opened() { opened_ = true; }

  // A handler that runs only while somebody still wants the answer.
  template <class Handler>
  auto while_asked(Handler handler) {
    return [weak = weak_from_this(), handler = std::move(handler)](auto&&... arguments) mutable {
      if (const auto asked = weak.lock()) handler(std::forward<decltype(arguments)>(arguments)...);
    };
  }

 private:
  Done done_;
  bool opened_ = false;
};

class Probe {
 public:
  virtual ~Probe() = default;
  // Asks once more, whether or not earlier questions have been answered. `done` runs on the loop's thread, at
  // most once, never inside this call, and not after the question is gone. How long to wait is the caller's
  // business.
  virtual std::shared_ptr<Question> ask(Question::Done done) = 0;
};

}  // namespace squall
