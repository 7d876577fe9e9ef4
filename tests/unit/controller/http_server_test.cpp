// The server under short supply.
#include <sys/resource.h>

#include <gtest/gtest.h>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "controller/http/server.hpp"

namespace squall::http {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using tcp = asio::ip::tcp;

std::string ask(asio::io_context& io, tcp::socket& client) {
  asio::write(client, asio::buffer(std::string("GET / HTTP/1.0\r\n\r\n")));
  std::string answer;
  asio::async_read_until(client, asio::dynamic_buffer(answer), "hello", [&](auto, auto) { io.stop(); });
  io.run_for(20s);
  io.restart();
  return answer;
}

TEST(HttpServer, listens_on_no_other_port_than_was_asked_for) {
  boost::asio::io_context io;
  for (auto* wrong : {"99999", "65536", "-1", "", "80x", " 80"})
    EXPECT_THROW((http::Server{io, fmt::format("127.0.0.1:{}", wrong),
                               [](const http::ServerRequest&) { return http::ServerAnswer{}; }}),
                 std::runtime_error)
        << wrong;
}

TEST(HttpServer, rests_while_there_are_no_descriptors_and_serves_when_there_are) {
  asio::io_context io;
  Server server{io, "127.0.0.1:0", [](const ServerRequest&) { return ServerAnswer{200, "hello"}; }};
  const tcp::endpoint there{asio::ip::address_v4::loopback(), server.port()};
  // A sanitizer's check of an object's type takes descriptors, the first time.
  tcp::socket first{io}, client{io};
  first.connect(there);
  EXPECT_TRUE(ask(io, first).ends_with("hello"));
  client.connect(there);
  rlimit usual{};
  ::getrlimit(RLIMIT_NOFILE, &usual);
  const rlimit none{3, usual.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  const auto handled = io.run_for(200ms);
  ::setrlimit(RLIMIT_NOFILE, &usual);
  EXPECT_LT(handled, 50U);
  EXPECT_TRUE(ask(io, client).ends_with("hello"));
}

}  // namespace
}  // namespace squall::http
