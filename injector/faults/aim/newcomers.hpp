// Interfaces that come up while a fault on every interface is in force: what leaves by them is left as it is.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "injector/faults/fault.hpp"
#include "injector/host/netlink/links.hpp"

namespace squall::faults {

class Newcomers {
 public:
  using Hit = std::function<bool(const std::string& name)>;
  // Beside these devices; `both`: what arrives by a new one is left as it is too. `hit`: whether one of that
  // name is hit all the same, as one that was made anew is where rules know devices by their names.
  Newcomers(std::uint64_t network_namespace, pid_t namespace_pid, const std::vector<links::Link>& known,
            bool both, Hit hit);
  // Looks again. Not verified where they carried more than a few packets beside those that were hit.
  Dose in_view(Dose);
  // "fault.passed_by", once for each that carried something.
  void tell(std::vector<FaultEvent>&);

 private:
  struct One {
    std::string name;
    std::int64_t found_at = 0;
    std::uint64_t carried = 0;
    bool told = false;
  };
  void look();
  std::uint64_t carried_by(std::uint32_t index) const;
  // Another name is another device to rules that know it by its name.
  bool is_known(const links::Link&) const;

  std::uint64_t network_namespace_;
  pid_t namespace_pid_;
  std::map<std::uint32_t, std::string> known_;     // by index
  std::map<std::uint32_t, std::uint64_t> before_;  // what others that were there had carried
  bool both_;
  Hit hit_;
  std::map<std::uint32_t, One> new_;
};

}  // namespace squall::faults
