// One request on its way through libcurl: its options, what has come so far, and its result in words.
#pragma once

#include <array>
#include <functional>
#include <string>

#include <curl/curl.h>

#include "controller/http/client.hpp"

namespace squall::http {

using Handler = std::function<void(Answer)>;

// Owns an easy handle, which serves many requests, one after the other.
class Transfer {
 public:
  Transfer();
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void prepare(std::uint64_t number, Request, Handler);
  static std::uint64_t number_of(CURL*);
  Handler take_handler() { return std::move(handler_); }
  Answer answer(CURLcode result);
  // The near end of its connection; "" while there is none.
  std::string local() const;
  void* owner = nullptr;  // whose callbacks it is given
  // A socket for it could not be had, by errno.
  void no_socket(int error) { no_socket_ = error; }
  CURL* easy() const { return easy_; }

 private:
  void set_method_and_body();
  std::string describe(CURLcode result) const;
  bool own_trouble(CURLcode result) const;
  static std::size_t receive(char* data, std::size_t one, std::size_t size, void* self);

  CURL* easy_;
  std::uint64_t number_ = 0;
  curl_slist* headers_ = nullptr;
  Request request_;
  Handler handler_;
  std::string body_;
  bool too_large_ = false;
  int no_socket_ = 0;
  std::array<char, CURL_ERROR_SIZE> detail_{};
};

}  // namespace squall::http
