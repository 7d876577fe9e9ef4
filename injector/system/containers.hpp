// Containers by the names people gave them, read from what the engines keep on disk: no daemon is asked.
#pragma once

#include <string>
#include <vector>

namespace squall {

// Full ids of the Docker and Podman containers with this name, system-wide ones only; `root` stands for "/"
// in tests.
std::vector<std::string> container_ids(const std::string& name, const std::string& root = "");

}  // namespace squall
