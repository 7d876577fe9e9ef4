// The only way to a host: verbs queue changes here, each with its inverse; committing journals every inverse
// in one flush and then acts in order. `squall plan` reads the queue and never commits, so a plan cannot
// disagree with what is done.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "injector/change/inverse.hpp"

namespace squall {

struct Change {
  std::string what;  // "add a clsact qdisc to eth0": an attempt and its object, for plans and errors
  std::optional<Inverse> inverse;  // none where nature has none (a signal sent)
  std::string undo_note;  // where there is no inverse: why ("a killed process does not come back by itself")
  std::function<void()> act;  // throws std::exception on failure; has then changed nothing
  std::function<Undone()>
      release;  // optional: undoes it faster from inside this process (closes a socket it holds)
};

// Verbs are free functions in injector/host/ that take a Transaction first: `cgroup::set_line(tx, file, …)`.
// They may read the host when called; they change it only inside `act`.
class Transaction {
 public:
  void add(Change change) { changes_.push_back(std::move(change)); }
  std::vector<Change>& changes() { return changes_; }
  const std::vector<Change>& changes() const { return changes_; }

 private:
  std::vector<Change> changes_;
};

}  // namespace squall
