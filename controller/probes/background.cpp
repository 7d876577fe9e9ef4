#include "controller/probes/background.hpp"

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <boost/asio/post.hpp>

namespace squall {
namespace {

// A name server that is gone keeps each getaddrinfo(3) for many seconds after its probe has timed out.
constexpr int most_threads = 256;
std::atomic<int> threads{0};

}  // namespace

struct Background::Slot {
  std::mutex mutex;
  boost::asio::io_context* loop;  // null when nobody wants the result
};

Background::Background(boost::asio::io_context& loop, std::function<Deliver()> work)
    : slot_(std::make_shared<Slot>()), loop_stays_(loop.get_executor()) {
  slot_->loop = &loop;
  if (++threads > most_threads) {
    --threads;
    throw std::runtime_error("256 earlier lookups still hang");
  }
  try {
    std::thread([slot = slot_, work = std::move(work)] {
      Deliver deliver = work();
      const std::lock_guard lock(slot->mutex);
      if (slot->loop) {
        boost::asio::post(*slot->loop, [slot, deliver = std::move(deliver)] {
          if (slot->loop) deliver();
        });
      }
      --threads;
    }).detach();
  } catch (const std::system_error& error) {
    --threads;
    throw std::runtime_error(std::string("start a thread: ") + error.what());
  }
}

Background::~Background() {
  const std::lock_guard lock(slot_->mutex);
  slot_->loop = nullptr;
}

}  // namespace squall
