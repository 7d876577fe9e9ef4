#include "injector/session/link.hpp"

#include <cerrno>
#include <regex>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>

#include "injector/session/protocol.hpp"
#include "injector/system/host_text.hpp"

namespace squall {
namespace {

constexpr int patience_ms = 1000;  // less than the guardian's with a silent injector
// What a pipe takes without blocking when poll(2) says that it is writable (pipe(7): PIPE_BUF).
constexpr std::size_t never_blocks = 4096;
// Of a line that cannot be read its id is looked for at both ends, where callers put it.
constexpr std::size_t id_is_near = 256;

}  // namespace

namespace asio = boost::asio;

boost::json::value id_in(std::string_view line) {
  static const std::regex member{R"re([{,]\s*"id"\s*:\s*(\d{1,18})\s*[,}])re"};
  const std::string ends{line.size() <= 2 * id_is_near
                             ? line
                             : std::string(line.substr(0, id_is_near)) +
                                   std::string(line.substr(line.size() - id_is_near))};
  std::smatch found;
  if (!std::regex_search(ends, found, member)) return nullptr;
  return std::stoll(found[1]);
}

CallerLink::CallerLink(asio::io_context& io, int in, int out)
    : io_(io), in_(io, ::dup(in)), buffer_(longest_request), out_(out) {}

void CallerLink::listen(std::function<void(std::string_view)> take, std::function<void(std::string)> ended) {
  take_ = std::move(take);
  ended_ = std::move(ended);
  read();
}

void CallerLink::read() {
  asio::async_read_until(in_, buffer_, '\n', [this](auto error, std::size_t size) {
    if (!open_) return;
    if (error == asio::error::not_found) {
      pass_over(0);
      return read();
    }
    if (error) return lose("the link ended");
    if (!too_long_.empty()) {
      pass_over(size);
      return read();
    }
    const std::string line(static_cast<const char*>(buffer_.data().data()), size - 1);
    buffer_.consume(size);
    take_(line);
    if (open_) read();
  });
}

// Keeps how it begins and, at its end (behind so many bytes; 0: not yet), answers.
void CallerLink::pass_over(std::size_t line_end) {
  const std::string_view heard{static_cast<const char*>(buffer_.data().data()),
                               line_end ? line_end : buffer_.size()};
  if (too_long_.empty()) too_long_ = heard.substr(0, id_is_near);
  if (line_end) {
    const auto tail = heard.substr(heard.size() - std::min(heard.size(), id_is_near));
    send({{"id", id_in(std::exchange(too_long_, {}) + std::string(tail))},
          {"ok", false},
          {"kind", "input"},
          {"error", fmt::format("a request of more than {} MiB cannot be carried", longest_request >> 20)}});
  }
  buffer_.consume(heard.size());
}

bool CallerLink::writable(int milliseconds) const {
  pollfd ready{out_, POLLOUT, 0};
  return ::poll(&ready, 1, milliseconds) == 1;
}

void CallerLink::send(const boost::json::object& message) {
  auto text = valid_json(boost::json::serialize(message)) + "\n";
  if (auto* id = message.if_contains("id"); id && text.size() > longest_answer)
    text = boost::json::serialize(boost::json::object{{"id", *id},
                                                      {"ok", false},
                                                      {"kind", "failed"},
                                                      {"error", "the answer is too long to be carried"}}) +
           "\n";
  for (std::string_view rest = text; !rest.empty() && !deaf_;) {
    const auto wrote =
        writable(patience_ms) ? ::write(out_, rest.data(), std::min(rest.size(), never_blocks)) : 0;
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
