#include "injector/host/close_later.hpp"

#include <thread>

namespace squall {

void close_later(Fd fd) {
  if (!fd) return;
  const int raw = fd.release();
  try {
    std::thread{[raw] { ::close(raw); }}.detach();
  } catch (const std::exception&) {
    ::close(raw);
  }
}

}  // namespace squall
