// An HTTP client: libcurl's multi interface driven by Asio, on one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace squall::http {

struct Request {
  std::string url;
  std::string method = "GET";
  std::vector<std::string> headers;
  std::string body;
  std::chrono::nanoseconds timeout{5'000'000'000};
  bool verify_tls = true;
  std::string certificate, key,
      ca;                         // PEM files: our own, and whom to trust instead of the system's authorities
  bool fresh_connection = false;  // a new connection each time, as a new user would
  std::size_t largest_answer = 1 << 20;  // bytes kept; more is an error
};

struct Answer {
  bool ok = false;  // an answer came, whatever its status
  int status = 0;
  std::string body;
  std::string date;        // the header Date, "" where there is none
  std::string error;       // where ok is false: "connection refused", "timed out after 1s"
  std::string local;       // the near end of its connection, "tcp 10.0.0.1:4711"; "" where there was none
  bool not_asked = false;  // nothing was sent: this host lacked a port, a descriptor, memory
  bool opened = false;     // by a connection that was made for it
  // Since the request was started; 0 where the phase was not reached. From CURLINFO_*_TIME_T.
  std::chrono::nanoseconds name_lookup{}, connect{}, tls{}, first_byte{}, total{};
};

class Client {
 public:
  explicit Client(boost::asio::io_context&);
  ~Client();
  Client(const Client&) = delete;
  // The handler runs on the io_context's thread, never inside this call.
  std::uint64_t get(Request, std::function<void(Answer)>);
  // Closes the connection of a request that is still on its way and forgets its handler; by the number that
  // get() gave.
  void give_up(std::uint64_t request);
  // The near end of the connection of a request that is still on its way; "" while there is none.
  std::string local(std::uint64_t request) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace squall::http
