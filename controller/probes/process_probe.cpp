#include <fmt/format.h>

#include "controller/probes/background.hpp"
#include "controller/probes/kinds.hpp"
#include "injector/system/targets.hpp"

namespace squall {
namespace {

using Found = tl::expected<std::vector<Process>, std::string>;

// The processes found last: while one of them lives, nobody has to walk /proc.
using Known = std::shared_ptr<std::vector<Process>>;

class ProcessQuestion : public Question {
 public:
  using Question::Question;

  void start(boost::asio::io_context& loop, const TargetSpec& target, const Known& known) {
    auto found = while_asked([this, known, text = target.to_string()](const Found& processes) {
      if (!processes) return fail(processes.error());
      *known = *processes;
      if (processes->empty()) return fail(fmt::format("no process matches {}", text));
      succeed();
    });
    search_ = std::make_unique<Background>(loop, [target, found, before = *known]() -> Background::Deliver {
      for (const Process& process : before)
        if (is_alive(process)) return [found, process]() mutable { found(Found(std::vector{process})); };
      return [found, processes = find_processes(target)]() mutable { found(processes); };
    });
  }

 private:
  std::unique_ptr<Background> search_;
};

class ProcessProbe : public Probe {
 public:
  ProcessProbe(boost::asio::io_context& loop, TargetSpec target) : loop_(loop), target_(std::move(target)) {}

  std::shared_ptr<Question> ask(Question::Done done) override {
    auto question = std::make_shared<ProcessQuestion>(std::move(done));
    question->start(loop_, target_, known_);
    return question;
  }

 private:
  boost::asio::io_context& loop_;
  TargetSpec target_;
  Known known_ = std::make_shared<std::vector<Process>>();
};

}  // namespace

std::unique_ptr<Probe> process_probe(boost::asio::io_context& loop, const ProbeSpec& spec) {
  return std::make_unique<ProcessProbe>(loop, spec.process);
}

}  // namespace squall
