// What happens to which HTTP requests, and what was seen of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace squall::proxy {

struct HttpField {
  std::string name, value;  // names in any case of letters (RFC 9110, 5.1)
  bool operator==(const HttpField&) const = default;
};

struct HttpRule {
  // Of which requests: all that is given has to match.
  std::vector<std::string> methods;
  std::string path;  // a glob (fnmatch(3)) that the target without its query matches; empty: every one
  std::vector<HttpField> headers;  // a glob for each header's value
  double share = 1;                // of those that match, rolled once for each by the proxy's seed

  enum class Act { abort, delay, headers, body, truncate } act = Act::abort;
  // Request: before the server gets it; response: of what the server answers.
  enum class Side { request, response } side = Side::request;
  unsigned status = 503;     // abort
  std::string body;          // abort, body
  std::string content_type;  // abort, body; empty for a body: as it was
  std::chrono::nanoseconds delay{0}, jitter{0};
  std::vector<HttpField> set;  // headers: in the place of all of that name
  std::vector<std::string> remove;
  std::uint64_t keep_bytes = 0;  // truncate: of the body, then the connection is closed
};

// How a request differs from those that are meant, before the share is rolled: "POST /a", "GET /a without
// X-Env". "" where it is one.
std::string unlike(const HttpRule&, std::string_view method, std::string_view target,
                   const std::vector<HttpField>&);
bool same_name(std::string_view, std::string_view);

struct HttpCounters {
  std::uint64_t requests = 0;
  std::uint64_t matched = 0;
  std::uint64_t rolled = 0;     // of them: the share
  std::uint64_t done = 0;       // that the rule changed something for, as seen by one of both sides
  std::uint64_t unchanged = 0;  // that had nothing it could change: no body, or a short one
  std::uint64_t unanswered =
      0;  // that the rule was to hit at their answer, which had not begun when the connection ended
  std::uint64_t read_on = 0;  // connections on which a request was read
  std::string went_by;        // the most frequent requests that did not match, while none had
  std::uint64_t other =
      0;  // connections on which something else than HTTP/1 was spoken, TLS for instance, or answers came
          // that nobody had asked for, before any request was read; passed on as they are
  std::uint64_t strayed = 0;  // the same after requests that were read; passed on as they are from there on
};

}  // namespace squall::proxy
