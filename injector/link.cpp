#include "injector/link.hpp"

#include <cerrno>

#include <poll.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>

namespace squall {
namespace {

constexpr std::size_t longest_line = 2 << 20;  // 65,536 samples fit
constexpr int patience_ms = 1000;  // less than the guardian's with a silent injector
// What a pipe takes without blocking when poll(2) says that it is writable (pipe(7): PIPE_BUF).
constexpr std::size_t never_blocks = 4096;

}  // namespace

namespace asio = boost::asio;

CallerLink::CallerLink(asio::io_context& io, int in, int out) : io_(io), in_(io, ::dup(in)), buffer_(longest_line), out_(out) {}

void CallerLink::listen(std::function<void(std::string_view)> take, std::function<void(std::string)> ended) {
  take_ = std::move(take);
  ended_ = std::move(ended);
  read();
}

void CallerLink::read() {
  asio::async_read_until(in_, buffer_, '\n', [this](auto error, std::size_t size) {
    if (!open_) return;
    if (error == asio::error::not_found) {
      send({{"id", nullptr}, {"ok", false}, {"kind", "input"}, {"error", "a request is longer than 2 MiB"}});
      return lose("a request without an end");
    }
    if (error) return lose("the link ended");
    const std::string line(static_cast<const char*>(buffer_.data().data()), size - 1);
    buffer_.consume(size);
    take_(line);
    if (open_) read();
  });
}

bool CallerLink::writable(int milliseconds) const {
  pollfd ready{out_, POLLOUT, 0};
  return ::poll(&ready, 1, milliseconds) == 1;
}

void CallerLink::send(const boost::json::object& message) {
  const auto text = boost::json::serialize(message) + "\n";
  for (std::string_view rest = text; !rest.empty() && !deaf_;) {
    const auto wrote = writable(patience_ms) ? ::write(out_, rest.data(), std::min(rest.size(), never_blocks)) : 0;
    if (wrote > 0)
      rest.remove_prefix(static_cast<std::size_t>(wrote));
    else if (wrote == 0 || (errno != EINTR && errno != EAGAIN))
      deaf_ = true;
  }
  if (deaf_) asio::post(io_, [this] { lose("the caller takes nothing"); });
}

void CallerLink::tell(const boost::json::object& message) {
  if (writable(0)) send(message);
}

void CallerLink::lose(std::string why) {
  if (!open_) return;
  close();
  ended_(std::move(why));
}

void CallerLink::close() {
  open_ = false;
  boost::system::error_code ignored;
  in_.close(ignored);
}

}  // namespace squall
