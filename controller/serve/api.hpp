// What is answered to requests. Every route is declared once: the OpenAPI document is made of the same list.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "controller/http/server.hpp"
#include "controller/serve/rights/people.hpp"

namespace squall::serve {

class Daemon;

// One request whose person is known, taken apart.
struct Call {
  Daemon& daemon;
  const http::ServerRequest& request;
  const Person& person;
  std::map<std::string, std::string> path;    // {name} of the route
  std::map<std::string, std::string> fields;  // of the body, JSON or a form
  std::string field(const std::string& key) const;
};

struct Route {
  std::string method, path;  // "/api/v1/drills/{drill}/start"
  std::string sentence;
  std::vector<std::string> fields;  // of its body
  std::function<http::ServerAnswer(const Call&)> handle;
};
const std::vector<Route>& routes();

http::ServerAnswer answer(Daemon&, const http::ServerRequest&);

// Refuses with a status and a sentence.
struct Refusal {
  int status;
  std::string why;
};
http::ServerAnswer json_answer(const boost::json::value&, int status = 200);

boost::json::object openapi();

}  // namespace squall::serve
