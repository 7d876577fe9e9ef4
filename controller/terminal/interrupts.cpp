#include "controller/terminal/interrupts.hpp"

#include <csignal>

namespace squall {

void ignore_interrupts(boost::asio::signal_set& signals) {
  constexpr int interrupts[] = {SIGINT, SIGTERM, SIGHUP};
  sigset_t held, before;
  sigemptyset(&held);
  for (int number : interrupts)
    sigaddset(&held, number);
  ::pthread_sigmask(SIG_BLOCK, &held, &before);
  boost::system::error_code ignored;
  signals.clear(ignored);  // gives them their default action, which ends the process
  for (int number : interrupts)
    std::signal(number, SIG_IGN);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace squall
