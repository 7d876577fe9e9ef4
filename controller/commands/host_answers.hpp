// What an injector's one-shot verb answered, and how a person is told.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "controller/hosts/child.hpp"

namespace squall {

struct Answer {
  std::string problem;      // why there is none, else ""
  int exit_code = 0;        // the injector's
  std::string out, err;     // as it was printed
  boost::json::value told;  // of a JSON answer
};

// Tells an injector's answer from whatever else a far host prints, and a host that could not be reached from
// one that answers.
Answer understand(const Finished&, std::string_view verb, bool as_json, std::chrono::seconds patience);

// The JSON answer of "status" or "undo" as text.
std::string text_of_answer(std::string_view verb, const boost::json::value&, const std::string& host);

// Each line two spaces further in.
std::string indented(std::string_view text);

}  // namespace squall
