#include "injector/session/neighbours.hpp"

#include <chrono>

#include "injector/undo/journal.hpp"

namespace squall {

Neighbours::Neighbours(boost::asio::io_context& io, std::string state, std::string own_session, Tell tell)
    : timer_(io), state_(std::move(state)), own_(std::move(own_session)), tell_(std::move(tell)) {}

void Neighbours::watch() {
  look();
  if (!std::exchange(watching_, true)) again();
}

void Neighbours::again() {
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this](const boost::system::error_code& failed) {
    if (failed) return;
    look();
    again();
  });
}

void Neighbours::look() {
  std::map<Key, boost::json::object> now;
  for (auto& journal : read_journals(state_, own_))
    for (auto& fault : journal.faults)
      now[{journal.session, fault.step}] = {
          {"event", "other"},     {"session", journal.session}, {"run", fault.run}, {"step", fault.step},
          {"fault", fault.fault}, {"since", fault.since},       {"over", false}};
  for (auto& [key, fault] : now)
    if (!known_.contains(key)) tell_(fault);
  for (auto& [key, fault] : known_) {
    if (now.contains(key)) continue;
    fault["over"] = true;
    tell_(fault);
  }
  known_ = std::move(now);
}

}  // namespace squall
