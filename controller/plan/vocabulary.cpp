#include "controller/plan/vocabulary.hpp"

#include "injector/faults/fault.hpp"

namespace squall {
namespace {

class Catalogue : public FaultVocabulary {
 public:
  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (auto* fault : fault_catalogue())
      out.emplace_back(fault->name);
    return out;
  }
  const ObjectSchema* parameters(std::string_view name) const override {
    auto* fault = find_fault(name);
    return fault ? fault->parameters : nullptr;
  }
  std::vector<std::string> aims(std::string_view name) const override {
    auto* fault = find_fault(name);
    return fault ? fault->aims : std::vector<std::string>{};
  }
  std::string sentence(std::string_view name) const override {
    auto* fault = find_fault(name);
    return fault ? std::string(fault->sentence) : "";
  }
  bool lasting(std::string_view name) const override {
    auto* fault = find_fault(name);
    return fault && fault->lasting;
  }
  bool ramps(std::string_view name) const override {
    auto* fault = find_fault(name);
    return fault && fault->ramps;
  }
};

}  // namespace

const FaultVocabulary& catalogue_vocabulary() {
  static const Catalogue catalogue;
  return catalogue;
}

}  // namespace squall
