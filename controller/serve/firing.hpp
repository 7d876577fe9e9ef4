// What is firing at this moment, by the alert sources of a landscape.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "controller/http/client.hpp"
#include "scenarios/model/landscape.hpp"

namespace squall::serve {

struct Firing {
  std::set<std::string> alerts;
  std::string problem;  // a source that could not be asked, and why
};
// Asks each Prometheus and Alertmanager once, 5 s at most, and then tells; a webhook cannot be asked.
void ask_firing(http::Client&, const std::vector<AlertSourceSpec>&, std::function<void(Firing)>);

}  // namespace squall::serve
