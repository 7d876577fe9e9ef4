// What goes on when its fault is undone, because others use it: connections that were made through a proxy.
// It changes nothing for anybody new, and ends with the session.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace squall {

class Afterwards {
 public:
  // Ends it.
  virtual ~Afterwards() = default;
  // What its end costs: "3 connections that went through the proxy of \"slow\""; "" where nobody uses it any
  // more.
  virtual std::string used_for() = 0;
};

// Keeps it until the session ends, and ends those that nobody uses any more.
void go_on(std::unique_ptr<Afterwards>);
// Ends all of them: what that cost, one text each.
std::vector<std::string> end_afterwards();

}  // namespace squall
