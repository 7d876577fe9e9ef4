// What a host looks like, before and after: everything a fault could have left behind, nothing that changes on its own.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace squall {

// From what ("qdisc eth0 root") to its state. What cannot be read without privilege is left out.
std::map<std::string, std::string> snapshot_host();
// One sentence for each difference, for a person; empty when the host is as found.
std::vector<std::string> differences(const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& after);

}  // namespace squall
