// An overlay over a folder, as a change of the host with its inverse, and the injector's hold on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "injector/change/transaction.hpp"
#include "injector/overlay/shared.hpp"
#include "injector/system/process.hpp"

namespace squall::overlay {

// A folder as a process sees it.
struct Place {
  pid_t pid = 0;  // of somebody in the mount namespace; our own for our own
  std::uint64_t start_ticks = 0;
  std::string path;           // absolute, without symbolic links
  std::string below() const;  // by /proc/PID/root, from here
};

// The rules and counts of one overlay, before, while and after it is in place. Rules may be set at any time.
class Overlay {
 public:
  Overlay(Place place, std::string tag, std::uint64_t seed);
  ~Overlay();
  Overlay(const Overlay&) = delete;
  const Place& place() const { return place_; }
  const std::string& tag() const { return tag_; }
  Shared& shared() { return *shared_; }
  // The bare folder, from before; -1 where it is not there.
  int folder() const { return folder_.get(); }
  // Starts the keeper and comes back when the overlay is in place; throws std::runtime_error where it cannot
  // be.
  void attach();
  void release();  // the injector's hold: rules end, and the mount is taken away

 private:
  Place place_;
  std::string tag_;
  Fd folder_, namespace_, memory_, lifeline_;
  Shared* shared_ = nullptr;
};

// Puts it in place; the inverse, "overlay.detach", takes it away.
void put_over(Transaction&, const std::shared_ptr<Overlay>&);
// Why there can be none on this host; "" where there can.
std::string missing();

}  // namespace squall::overlay
