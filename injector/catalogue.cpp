// Every fault there is, on one screen.
#include "injector/fault.hpp"

namespace squall {
namespace faults {
}  // namespace faults

const std::vector<const FaultType*>& fault_catalogue() {
  static const std::vector<const FaultType*> catalogue{
  };
  return catalogue;
}

const FaultType* find_fault(std::string_view name) {
  for (auto* fault : fault_catalogue())
    if (fault->name == name) return fault;
  return nullptr;
}

}  // namespace squall
