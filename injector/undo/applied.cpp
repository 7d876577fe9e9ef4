#include "injector/undo/applied.hpp"

#include <fmt/format.h>

#include "injector/change/records.hpp"

namespace squall {

std::string undo_text(const Change& change) {
  if (!change.inverse) return change.undo_note.empty() ? "nothing to undo" : change.undo_note;
  auto* verb = find_undo_verb(change.inverse->verb);
  return verb ? verb->describe(change.inverse->with) : change.inverse->verb;
}

void Applied::commit(Transaction&& transaction, std::vector<boost::json::object> also) {
  auto records = std::move(also);
  std::vector<Done> coming;
  std::vector<Inverse*> inverses;
  for (auto& change : transaction.changes())
    if (change.inverse) inverses.push_back(&*change.inverse);
  undo::tell_namespaces_apart(inverses);
  for (auto& change : transaction.changes()) {
    const auto seq = change.inverse ? journal_.next_seq() : 0;
    if (seq) records.push_back(intent_record(seq, step_, *change.inverse));
    coming.push_back({std::move(change), seq});
  }
  journal_.append(records);
  // From here on each is taken for done, acted or not: an inverse tells by itself whether there is anything
  // to put back.
  done_ = std::move(coming);
  for (auto& done : done_)
    try {
      if (done.change.act) done.change.act();
    } catch (const std::exception& e) {
      auto text = fmt::format("{}: {}", done.change.what, e.what());
      done.change.release = nullptr;
      for (auto later = &done + 1; later != done_.data() + done_.size(); ++later)
        later->change.release = nullptr;
      for (auto& left : undo())
        text += fmt::format("; left: {} (by hand: {})", left.detail, left.by_hand);
      throw std::runtime_error(text);
    }
}

std::optional<Left> Applied::take_back(Done& done) {
  Undone released{UndoOutcome::failed, "", ""};
  if (done.change.release) try {
      released = done.change.release();
    } catch (const std::exception& e) {
      released.detail = e.what();
    }
  if (!done.change.release && !done.change.inverse) return {};
  if (released.outcome == UndoOutcome::undone || released.outcome == UndoOutcome::already) return {};
  if (done.change.inverse) return carry_out(step_, *done.change.inverse, find_);
  return Left{step_, released.detail, released.by_hand, released.outcome == UndoOutcome::failed};
}

std::vector<Left> Applied::undo(std::vector<boost::json::object> also) {
  std::vector<boost::json::object> records;
  auto left = undo(std::move(also), records);
  try {
    if (!records.empty()) journal_.append(records);
  } catch (const std::exception&) {
    // The inverses are idempotent: whoever reads the journal next finds nothing left to do.
  }
  return left;
}

std::vector<Left> Applied::undo(std::vector<boost::json::object> also,
                                std::vector<boost::json::object>& records) {
  std::vector<Left> left;
  std::vector<Done> remaining;
  for (auto it = done_.rbegin(); it != done_.rend(); ++it) {
    if (auto remains = take_back(*it)) {
      left.push_back(std::move(*remains));
      remaining.insert(remaining.begin(), std::move(*it));
    } else if (it->seq) {
      records.push_back(undone_record(it->seq));
    }
  }
  done_ = std::move(remaining);
  if (left.empty())
    records.insert(records.end(), std::make_move_iterator(also.begin()), std::make_move_iterator(also.end()));
  return left;
}

}  // namespace squall
