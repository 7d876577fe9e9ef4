// Who stands at the door: which host is meant, from which page a request comes, whose token it bears.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "controller/http/server.hpp"
#include "controller/serve/rights/people.hpp"

namespace squall::serve {

class Gate {
 public:
  // The names by which it may be called, as "host:port" or "host"; whatever else a browser was led to believe
  // (DNS rebinding) is refused.
  void known_as(const std::set<std::string>& hosts) { hosts_ = hosts; }

  struct Admitted {
    int status = 0;  // 0: go on; else what is answered, and why
    std::string why;
    std::string person;  // id; "" where nobody has said who they are
  };
  // `now` in seconds of a clock that is never set.
  Admitted admit(const http::ServerRequest&, const People&, std::int64_t now);

  // A session for a browser, by a token that is right; "" where it is not. Twelve hours at most.
  std::string log_in(const http::ServerRequest&, const std::string& token, const People&, std::int64_t now);
  void log_out(const http::ServerRequest&);

 private:
  struct Session {
    std::string person, token;  // token: its hash, so that a token that is taken away ends its sessions
    std::int64_t until = 0;
  };
  struct Guesses {
    std::int64_t since = 0;
    int wrong = 0;
  };
  std::string misled(const http::ServerRequest&, bool by_cookie) const;
  bool guesses_too_often(const std::string& address, std::int64_t now) const;
  void guessed_wrong(const std::string& address, std::int64_t now);
  const Person* by_token(const http::ServerRequest&, std::string_view token, const People&, std::int64_t now);

  std::set<std::string> hosts_;
  std::map<std::string, Session> sessions_;  // by the hash of what the cookie says
  std::map<std::string, Guesses> guesses_;   // by address
};

}  // namespace squall::serve
