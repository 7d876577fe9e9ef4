// Runs a fault as the injector does, without journal and guardian: its acts in order, its undo in reverse.
#pragma once

#include <stdexcept>
#include <string>

#include "injector/faults/fault.hpp"

namespace squall::testing {

class RunFault {
 public:
  // Throws std::runtime_error with the diagnostics where the fault cannot be prepared.
  RunFault(const std::string& name, const boost::json::object& with, const boost::json::object& on,
           std::uint64_t seed = 1, boost::asio::io_context* io = nullptr,
           const std::function<bool(const Process&)>& permits = nullptr) {
    auto* type = find_fault(name);
    if (!type) throw std::runtime_error("no such fault: " + name);
    Diagnostics wrong{name};
    TargetSpec target;
    Describe<TargetSpec>::object().decode(from_json(on), target, wrong);
    const auto parameters = from_json(with);
    type->parameters->check(parameters, wrong);
    Setting setting;
    setting.session = "7e57f00d";
    setting.step = "test";
    setting.seed = seed;
    setting.io = io;
    if (permits) setting.permits = permits;
    if (wrong.ok()) fault_ = type->prepare(parameters, target, setting, wrong);
    if (!fault_) throw std::runtime_error(wrong.render());
  }
  ~RunFault() { undo(); }

  Fault& fault() { return *fault_; }
  Fault* operator->() { return fault_.get(); }

  // Throws what an act throws, after undoing what was done.
  RunFault& apply() {
    Transaction transaction;
    fault_->apply(transaction);
    for (auto& change : transaction.changes()) {
      try {
        if (change.act) change.act();
      } catch (const std::exception& e) {
        undo();
        throw std::runtime_error(change.what + ": " + e.what());
      }
      done_.push_back(std::move(change));
    }
    fault_->started();
    return *this;
  }

  // As within the injector (the quick release), or as from the journal alone. What could not be undone, in
  // words.
  std::string undo(bool from_the_journal = false) {
    if (!done_.empty()) fault_->stopping();
    std::string left;
    for (auto change = done_.rbegin(); change != done_.rend(); ++change) {
      Undone undone;
      if (change->release && !from_the_journal)
        undone = change->release();
      else if (change->inverse)
        undone = find_undo_verb(change->inverse->verb)->carry_out(change->inverse->with);
      if (undone.outcome == UndoOutcome::conflict || undone.outcome == UndoOutcome::failed)
        left += undone.detail + "\n";
    }
    done_.clear();
    return left;
  }

  std::vector<Inverse> inverses() const {
    std::vector<Inverse> out;
    for (auto& change : done_)
      if (change.inverse) out.push_back(*change.inverse);
    return out;
  }

 private:
  std::unique_ptr<Fault> fault_;
  std::vector<Change> done_;
};

}  // namespace squall::testing
