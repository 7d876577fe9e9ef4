// The pages: HTML over the wire, in the style of the reports, that works without its script.
#pragma once

#include <string>
#include <string_view>

#include "controller/serve/rights/people.hpp"

namespace squall::serve {

class Daemon;

std::string main_page(Daemon&, const Person&);
std::string now_part(Daemon&);
std::string gameday_page(Daemon&, const Person&, const std::string& name);
std::string login_page(const std::string& problem);
std::string error_page(int status, const std::string& why);
std::string page_css();
// Fetches the part that is live whenever something happens, and says when it hears nothing any more.
extern const std::string_view page_js;

}  // namespace squall::serve
