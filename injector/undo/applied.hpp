// Committing a transaction and taking it back.
#pragma once

#include <string>
#include <vector>

#include "injector/change/transaction.hpp"
#include "injector/undo/carry_out.hpp"
#include "injector/undo/journal.hpp"

namespace squall {

// What was done to the host for one step, and how it is taken back.
class Applied {
 public:
  Applied(Journal& journal, std::string step, FindUndoVerb find = find_undo_verb)
      : journal_(journal), step_(std::move(step)), find_(find) {}
  Applied(const Applied&) = delete;

  // Journals every inverse in one durable write, together with `also`, then acts in order. Throws
  // std::runtime_error that names the attempt that failed; what was done is then taken back already, last
  // first, as far as it could be.
  void commit(Transaction&&, std::vector<boost::json::object> also = {});
  // Takes back what is still there, last change first, and says what could not be. Never throws; once is
  // enough, again tries what failed. `also` goes to the journal in the same write where nothing is left.
  std::vector<Left> undo(std::vector<boost::json::object> also = {});
  // The same where many are undone at once: what belongs in the journal is added to `records`, which the
  // caller appends.
  std::vector<Left> undo(std::vector<boost::json::object> also, std::vector<boost::json::object>& records);
  // Nothing of it is on the host any more.
  bool gone() const { return done_.empty(); }
  std::size_t size() const { return done_.size(); }

 private:
  struct Done {
    Change change;
    std::uint64_t seq = 0;  // 0: no inverse
  };
  std::optional<Left> take_back(Done&);

  Journal& journal_;
  std::string step_;
  FindUndoVerb find_;
  std::vector<Done> done_;  // in the order of the changes
};

// How a change will be undone ("restore … "), or why it cannot be.
std::string undo_text(const Change&);

}  // namespace squall
