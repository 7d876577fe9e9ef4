// Committing a transaction and taking it back.
#pragma once

#include <string>
#include <vector>

#include "injector/journal.hpp"
#include "injector/transaction.hpp"

namespace squall {

// A transaction that is in force: what was changed, and what the journal calls each inverse.
class Applied {
 public:
  // Journals every inverse in one durable write, together with `also`, then acts in order. On failure what was done is
  // taken back, last first, and std::runtime_error names the attempt that failed.
  Applied(Transaction&&, Journal&, const std::string& step, std::vector<boost::json::object> also);
  Applied(const Applied&) = delete;
  // Takes everything back, last change first; what could not be undone is told. Once is enough, twice does no harm.
  std::vector<Left> undo();
  std::vector<std::string> undo_texts() const;

 private:
  struct Done {
    Change change;
    std::uint64_t seq = 0;  // 0: no inverse
    bool acted = false;
  };
  std::optional<Left> take_back(Done&);

  Journal& journal_;
  std::string step_;
  std::vector<Done> done_;
};

// "restore … " of an inverse, or why there is none.
std::string undo_text(const Change&);

}  // namespace squall
