// The link to the caller: lines in, JSON objects out, over a pair of descriptors.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/json.hpp>

namespace squall {

// The "id" of a request that cannot be read as a whole, as far as it can be seen; null where it cannot.
boost::json::value id_in(std::string_view line);

class CallerLink {
 public:
  CallerLink(boost::asio::io_context&, int in, int out);
  CallerLink(const CallerLink&) = delete;

  // Calls `take` with each line, and `ended` once with the reason when no more will come: end of file, or a
  // caller that takes nothing for a second. A line that is longer than a request may be is answered and
  // passed over.
  void listen(std::function<void(std::string_view line)> take, std::function<void(std::string why)> ended);
  // Sends one line. Never blocks for more than a second; after that the link is lost and says so to `ended`.
  void send(const boost::json::object&);
  // The same for what may be missed: dropped when the caller does not take it at once.
  void tell(const boost::json::object&);
  // No more lines are taken.
  void close();

 private:
  void read();
  void pass_over(std::size_t line_end);
  void lose(std::string why);
  bool writable(int milliseconds) const;

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor in_;
  boost::asio::streambuf buffer_;
  std::string too_long_;  // how a line that is too long begins, while it is passed over
  int out_;
  bool open_ = true, deaf_ = false;
  std::function<void(std::string_view)> take_;
  std::function<void(std::string)> ended_;
};

}  // namespace squall
