// What a session had to do with on its host: so that a difference afterwards is told from what others did
// meanwhile.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "injector/faults/fault.hpp"
#include "injector/host/snapshot/snapshot.hpp"

namespace squall {

class Touched {
 public:
  explicit Touched(std::string session) : session_(std::move(session)) {}

  // A fault that is about to be put in force: what it is aimed at and claims, and what the inverses of its
  // changes name.
  void add(const Fault&, const std::vector<Change>&);

  // Both snapshots without what no fault of the session made, changed, or was aimed at; `others` are the
  // differences in that.
  struct Compared {
    HostState before, now;
    std::vector<std::string> others;
  };
  Compared compare(const HostState& before, const HostState& now) const;

 private:
  bool ours(const std::string& thing, const std::string* state, const HostState& before,
            const HostState& now) const;
  bool device(std::string_view name, const HostState& before, const HostState& now) const;

  std::string session_;
  std::set<std::string, std::less<>> words_;
};

// Without what a pattern of fnmatch(3) names, as reports name it: "mount /run/docker/*", "cgroup
// /sys/fs/cgroup/build/*".
HostState without(HostState, const std::vector<std::string>& patterns);

}  // namespace squall
