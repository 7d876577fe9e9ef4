#include "controller/http/transfer.hpp"

#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include <fmt/format.h>

#include "controller/http/own_trouble.hpp"
#include "scenarios/text/units.hpp"

namespace squall::http {
namespace {

std::string lower_case(std::string text) {
  for (char& c : text)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// What the environment exempts from its proxy, and always this host itself.
const std::string& without_proxy() {
  static const std::string list = [] {
    std::string hosts = "localhost,127.0.0.0/8,::1";
    for (const char* name : {"no_proxy", "NO_PROXY"})
      if (const char* value = std::getenv(name); value && *value) return hosts + "," + value;
    return hosts;
  }();
  return list;
}

// libcurl counts in milliseconds: rounded up, so that a timeout is never shorter than asked.
long milliseconds(std::chrono::nanoseconds span) {
  return static_cast<long>(std::chrono::ceil<std::chrono::milliseconds>(span).count());
}

std::chrono::nanoseconds phase(CURL* easy, CURLINFO which) {
  curl_off_t microseconds = 0;
  curl_easy_getinfo(easy, which, &microseconds);
  return std::chrono::microseconds(microseconds);
}

}  // namespace

Transfer::Transfer() : easy_(curl_easy_init()) {
  if (!easy_) throw std::bad_alloc();
}

Transfer::~Transfer() {
  curl_easy_cleanup(easy_);
  curl_slist_free_all(headers_);
}

std::uint64_t Transfer::number_of(CURL* easy) {
  void* self = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
  return static_cast<Transfer*>(self)->number_;
}

void Transfer::prepare(std::uint64_t number, Request request, Handler handler) {
  number_ = number;
  request_ = std::move(request);
  handler_ = std::move(handler);
  body_.clear();
  too_large_ = false;
  no_socket_ = 0;
  detail_[0] = '\0';
  curl_easy_reset(easy_);
  curl_easy_setopt(easy_, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy_, CURLOPT_URL, request_.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  // A connection for each request at a time: over one HTTP/2 connection a lost packet would delay them all.
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy_, CURLOPT_TIMEOUT_MS, std::max(1L, milliseconds(request_.timeout)));
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS, std::max(1L, milliseconds(request_.timeout)));
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  // Otherwise a timeout waits, on this thread, for getaddrinfo(3) in libcurl's (Curl_resolver_kill in
  // asyn-thread.c).
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, without_proxy().c_str());
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "squall/" SQUALL_VERSION);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, detail_.data());
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &Transfer::receive);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  if (!request_.verify_tls) {
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!request_.certificate.empty()) curl_easy_setopt(easy_, CURLOPT_SSLCERT, request_.certificate.c_str());
  if (!request_.key.empty()) curl_easy_setopt(easy_, CURLOPT_SSLKEY, request_.key.c_str());
  if (!request_.ca.empty()) curl_easy_setopt(easy_, CURLOPT_CAINFO, request_.ca.c_str());
  // A new connection asks for its address anew; one that is kept asks for none.
  curl_easy_setopt(easy_, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
  if (request_.fresh_connection) {
    curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy_, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy_, CURLOPT_SSL_SESSIONID_CACHE, 0L);
  }
  set_method_and_body();
}

void Transfer::set_method_and_body() {
  curl_slist_free_all(headers_);
  headers_ = curl_slist_append(nullptr, "Expect:");
  for (const std::string& header : request_.headers)
    headers_ = curl_slist_append(headers_, header.c_str());
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
  if (request_.method == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
    return;
  }
  if (request_.method == "GET" && request_.body.empty()) return;
  if (!request_.body.empty() || request_.method == "POST") {
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request_.body.c_str());
  }
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

std::size_t Transfer::receive(char* data, std::size_t, std::size_t size, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.body_.size() + size > transfer.request_.largest_answer) {
    transfer.too_large_ = true;
    return 0;
  }
  transfer.body_.append(data, size);
  return size;
}

std::string Transfer::local() const {
  const char* address = nullptr;
  long port = 0;
  curl_easy_getinfo(easy_, CURLINFO_LOCAL_IP, &address);
  curl_easy_getinfo(easy_, CURLINFO_LOCAL_PORT, &port);
  if (!address || !*address || port <= 0) return "";
  return std::strchr(address, ':') ? fmt::format("tcp [{}]:{}", address, port)
                                   : fmt::format("tcp {}:{}", address, port);
}

Answer Transfer::answer(CURLcode result) {
  Answer answer;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  answer.ok = result == CURLE_OK;
  answer.status = static_cast<int>(status);
  answer.body = std::move(body_);
  if (curl_header* date = nullptr; curl_easy_header(easy_, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
    answer.date = date->value;
  if (!answer.ok) answer.error = describe(result);
  answer.local = local();
  answer.not_asked = own_trouble(result);
  long connects = 0;
  curl_easy_getinfo(easy_, CURLINFO_NUM_CONNECTS, &connects);
  answer.opened = connects > 0;
  answer.name_lookup = phase(easy_, CURLINFO_NAMELOOKUP_TIME_T);
  answer.connect = phase(easy_, CURLINFO_CONNECT_TIME_T);
  answer.tls = phase(easy_, CURLINFO_APPCONNECT_TIME_T);
  answer.first_byte = phase(easy_, CURLINFO_STARTTRANSFER_TIME_T);
  answer.total = phase(easy_, CURLINFO_TOTAL_TIME_T);
  return answer;
}

bool Transfer::own_trouble(CURLcode result) const {
  long system_error = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &system_error);
  if (result == CURLE_COULDNT_CONNECT)
    return is_own_trouble(no_socket_ ? no_socket_ : static_cast<int>(system_error));
  return result == CURLE_OUT_OF_MEMORY || (result == CURLE_COULDNT_RESOLVE_HOST && !has_descriptors_left());
}

std::string Transfer::describe(CURLcode result) const {
  const std::string detail = detail_[0] ? detail_.data() : curl_easy_strerror(result);
  long system_error = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &system_error);
  switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
      return "timed out after " + to_string(Duration::of(request_.timeout));
    case CURLE_COULDNT_CONNECT:
      if (no_socket_) return lower_case(std::strerror(no_socket_));
      return system_error ? lower_case(std::strerror(static_cast<int>(system_error))) : lower_case(detail);
    case CURLE_COULDNT_RESOLVE_HOST: {
      constexpr std::string_view before = "Could not resolve host: ";
      return detail.starts_with(before) ? fmt::format("cannot resolve \"{}\"", detail.substr(before.size()))
                                        : lower_case(detail);
    }
    case CURLE_PEER_FAILED_VERIFICATION: {
      constexpr std::string_view before = "SSL certificate problem: ";
      return "certificate not trusted: " +
             (detail.starts_with(before) ? detail.substr(before.size()) : lower_case(detail));
    }
    case CURLE_GOT_NOTHING:
      return "connection closed without an answer";
    case CURLE_PARTIAL_FILE:
      return "connection closed within the answer";
    case CURLE_UNSUPPORTED_PROTOCOL:
      if (detail.find("HTTP/0.9") != std::string::npos) return "the answer is not HTTP";
      return fmt::format("expected an http or https URL, got \"{}\"", request_.url);
    case CURLE_URL_MALFORMAT:
      return fmt::format("expected a URL, got \"{}\"", request_.url);
    case CURLE_WRITE_ERROR:
      if (too_large_)
        return "answer larger than " + to_string(Size{static_cast<std::int64_t>(request_.largest_answer)});
      return lower_case(detail);
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      if (system_error) return lower_case(std::strerror(static_cast<int>(system_error)));
      return detail.find("reset by peer") != std::string::npos ? "connection reset by peer"
                                                               : lower_case(detail);
    default:
      return lower_case(detail);
  }
}

}  // namespace squall::http
