#include "controller/serve/rights/gate.hpp"

#include <algorithm>

#include "controller/serve/rights/secret.hpp"

namespace squall::serve {
namespace {

constexpr int most_wrong = 10;  // guesses from one address in a minute
constexpr std::int64_t minute = 60, session_lasts = 12 * 3600;
constexpr std::size_t most_sessions = 1000, most_addresses = 10'000;

std::string cookie_of(const http::ServerRequest& request) {
  const auto header = request.header("cookie");
  std::string_view rest = header;
  while (!rest.empty()) {
    auto one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    while (one.starts_with(' '))
      one.remove_prefix(1);
    if (one.starts_with("squall=")) return std::string(one.substr(7));
  }
  return "";
}

std::string address_of(const http::ServerRequest& request) {
  return request.remote.substr(0, request.remote.rfind(':'));
}

bool only_reads(const http::ServerRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

const Person* known(const People& people, const std::string& id, const std::string& token) {
  const auto found = people.people.find(id);
  if (found == people.people.end()) return nullptr;
  const auto& tokens = found->second.tokens;
  return std::find(tokens.begin(), tokens.end(), token) == tokens.end() ? nullptr : &found->second;
}

}  // namespace

std::string Gate::misled(const http::ServerRequest& request, bool by_cookie) const {
  if (request.count("host") != 1 || !hosts_.contains(request.header("host")))
    return "this server is not known by that name; --name tells it more";
  if (only_reads(request)) return "";
  const auto origin = request.header("origin"), site = request.header("sec-fetch-site");
  if (by_cookie && origin.empty() && site.empty()) return "where this request comes from is not told";
  if (!site.empty() && site != "same-origin" && site != "none") return "requests of other sites are refused";
  if (origin.empty()) return "";
  const auto scheme = origin.find("://");
  if (scheme == origin.npos || !hosts_.contains(origin.substr(scheme + 3)))
    return "requests of other sites are refused";
  return "";
}

bool Gate::guesses_too_often(const std::string& address, std::int64_t now) const {
  const auto found = guesses_.find(address);
  return found != guesses_.end() && now - found->second.since < minute && found->second.wrong >= most_wrong;
}

void Gate::guessed_wrong(const std::string& address, std::int64_t now) {
  if (guesses_.size() >= most_addresses)
    std::erase_if(guesses_, [&](auto& one) { return now - one.second.since >= minute; });
  if (guesses_.size() >= most_addresses) guesses_.clear();
  auto& mine = guesses_[address];
  if (now - mine.since >= minute) mine = {now, 0};
  ++mine.wrong;
}

const Person* Gate::by_token(const http::ServerRequest& request, std::string_view token, const People& people,
                             std::int64_t now) {
  const auto* person = token.size() > 512 ? nullptr : people.with_token(token);
  if (!person) guessed_wrong(address_of(request), now);
  return person;
}

Gate::Admitted Gate::admit(const http::ServerRequest& request, const People& people, std::int64_t now) {
  const auto cookie = cookie_of(request), bearer = request.header("authorization");
  if (const auto why = misled(request, !cookie.empty() && bearer.empty()); !why.empty())
    return {403, why, ""};
  if (!bearer.empty()) {
    if (guesses_too_often(address_of(request), now)) return {429, "too many wrong tokens; wait a minute", ""};
    const auto* person = bearer.starts_with("Bearer ")
                             ? by_token(request, std::string_view(bearer).substr(7), people, now)
                             : nullptr;
    return person ? Admitted{0, "", person->id} : Admitted{401, "this token is nobody's", ""};
  }
  const auto session = cookie.empty() ? sessions_.end() : sessions_.find(sha256_hex(cookie));
  if (session == sessions_.end() || session->second.until <= now) return {};
  const auto* person = known(people, session->second.person, session->second.token);
  return person ? Admitted{0, "", person->id} : Admitted{};
}

std::string Gate::log_in(const http::ServerRequest& request, const std::string& token, const People& people,
                         std::int64_t now) {
  if (guesses_too_often(address_of(request), now)) return "";
  const auto* person = by_token(request, token, people, now);
  if (!person) return "";
  std::erase_if(sessions_, [&](auto& one) { return one.second.until <= now; });
  if (sessions_.size() >= most_sessions)
    sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(),
                                     [](auto& a, auto& b) { return a.second.until < b.second.until; }));
  const auto cookie = new_token();
  sessions_[sha256_hex(cookie)] = {person->id, "sha256:" + sha256_hex(token), now + session_lasts};
  return cookie;
}

void Gate::log_out(const http::ServerRequest& request) {
  if (const auto cookie = cookie_of(request); !cookie.empty()) sessions_.erase(sha256_hex(cookie));
}

}  // namespace squall::serve
