#include "injector/faults/afterwards.hpp"

namespace squall {
namespace {

// Never destroyed: where the process ends without the session's end, the kernel closes all there is in its
// order.
std::vector<std::unique_ptr<Afterwards>>& kept() {
  static auto* const all = new std::vector<std::unique_ptr<Afterwards>>;
  return *all;
}

}  // namespace

void go_on(std::unique_ptr<Afterwards> one) {
  std::erase_if(kept(), [](auto& there) { return there->used_for().empty(); });
  kept().push_back(std::move(one));
}

std::vector<std::string> end_afterwards() {
  std::vector<std::string> out;
  for (auto& one : kept())
    if (auto text = one->used_for(); !text.empty()) out.push_back(std::move(text));
  kept().clear();
  return out;
}

}  // namespace squall
