// Host names that are looked up again while something is in force, by threads of their own: getaddrinfo(3)
// waits for servers that do not answer.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "injector/host/match/packet_match.hpp"

namespace squall {

class NameWatch {
 public:
  static constexpr std::chrono::seconds every{5};

  // Names that were looked up just now.
  explicit NameWatch(const std::vector<std::string>& names);
  ~NameWatch();
  NameWatch(const NameWatch&) = delete;

  struct Found {
    std::string name;
    std::vector<Prefix> addresses;
    std::string error;  // "" or why there are none
  };
  // What was found since it was asked last; begins the look-ups that are due, where the caller is: in its
  // namespaces. Never waits.
  std::vector<Found> look();

 private:
  struct Name;
  std::vector<Name> names_;
};

}  // namespace squall
