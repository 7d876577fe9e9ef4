#include "injector/applied.hpp"

#include <fmt/format.h>

namespace squall {

std::string undo_text(const Change& change) {
  if (!change.inverse) return change.undo_note.empty() ? "nothing to undo" : change.undo_note;
  auto* verb = find_undo_verb(change.inverse->verb);
  return verb ? verb->describe(change.inverse->with) : change.inverse->verb;
}

Applied::Applied(Transaction&& transaction, Journal& journal, const std::string& step, std::vector<boost::json::object> also)
    : journal_(journal), step_(step) {
  auto records = std::move(also);
  for (auto& change : transaction.changes()) {
    Done done{std::move(change), 0, false};
    if (done.change.inverse) {
      done.seq = journal_.next_seq();
      records.push_back(intent_record(done.seq, step_, *done.change.inverse));
    }
    done_.push_back(std::move(done));
  }
  journal_.append(records);
  for (auto& done : done_) {
    try {
      if (done.change.act) done.change.act();
      done.acted = true;
    } catch (const std::exception& e) {
      std::string text = fmt::format("{}: {}", done.change.what, e.what());
      for (auto& left : undo()) text += fmt::format("; left: {} ({})", left.detail, left.by_hand);
      throw std::runtime_error(text);
    }
  }
}

std::optional<Left> Applied::take_back(Done& done) {
  if (!done.change.inverse && !done.change.release) return {};
  if (done.acted && done.change.release) {
    const auto result = done.change.release();
    if (result.outcome == Outcome::undone || result.outcome == Outcome::already) return {};
    if (!done.change.inverse) return Left{step_, result.detail, result.by_hand};
  }
  return carry_out(step_, *done.change.inverse);
}

std::vector<Left> Applied::undo() {
  std::vector<Left> left;
  std::vector<boost::json::object> records;
  for (auto it = done_.rbegin(); it != done_.rend(); ++it) {
    if (auto remains = take_back(*it))
      left.push_back(std::move(*remains));
    else if (it->seq)
      records.push_back(undone_record(it->seq));
  }
  done_.clear();
  try {
    if (!records.empty()) journal_.append(records);
  } catch (const std::exception&) {
    // The inverses are idempotent: whoever reads the journal next finds nothing left to do.
  }
  return left;
}

std::vector<std::string> Applied::undo_texts() const {
  std::vector<std::string> out;
  for (auto it = done_.rbegin(); it != done_.rend(); ++it) out.push_back(undo_text(it->change));
  return out;
}

}  // namespace squall
