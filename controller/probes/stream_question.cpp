#include "controller/probes/stream_question.hpp"

#include <cctype>

#include <boost/asio/error.hpp>

#include "controller/http/own_trouble.hpp"
#include "controller/probes/own_end.hpp"

namespace squall {

std::string short_text(const boost::system::error_code& error) {
  if (error == boost::asio::error::eof) return "connection closed";
  std::string text = error.message();
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

void StreamQuestion::connect(const Endpoint& endpoint, std::function<void()> connected) {
  connected_ = std::move(connected);
  boost::system::error_code not_an_address;
  const auto address = boost::asio::ip::make_address(endpoint.host, not_an_address);
  if (!not_an_address) {
    left_ = {{address, endpoint.port}};
    try_next("");
    return;
  }
  lookup_ = look_up(loop_, endpoint.host, while_asked([this, port = endpoint.port](const Addresses& found) {
                      if (!found)
                        return has_descriptors_left()
                                   ? fail(found.error())
                                   : could_not_ask("no descriptor is left to look up the name");
                      for (auto each = found->rbegin(); each != found->rend(); ++each)
                        left_.emplace_back(*each, port);
                      try_next("");
                    }));
}

void StreamQuestion::note_local() {
  local_ = own_end(socket_.native_handle());
}

std::string StreamQuestion::local() const {
  auto& socket = const_cast<Socket&>(socket_);
  return local_.empty() && socket.is_open() ? own_end(socket.native_handle()) : local_;
}

void StreamQuestion::try_next(const std::string& error) {
  if (left_.empty()) return own_trouble_ ? could_not_ask(error) : fail(error);
  const auto next = left_.back();
  left_.pop_back();
  boost::system::error_code ignored;
  socket_.close(ignored);
  socket_.async_connect(next, while_asked([this](const boost::system::error_code& failed) {
                          if (failed) {
                            // One address that could be asked has spoken for the service.
                            own_trouble_ = is_own_trouble(failed.value()) && (first_ || own_trouble_);
                            first_ = false;
                            return try_next(short_text(failed));
                          }
                          note_opened();
                          note_local();
                          connected_();
                        }));
}

}  // namespace squall
