// What texts a person writes must look like: addresses, URLs, regular expressions. Each check returns what is
// wrong
// ("expected …, got …"), or "" where nothing is.
#pragma once

#include <string>
#include <string_view>

namespace squall {

// http:// or https://, a host, and a port from 1 to 65535 where one is given.
std::string url_problem(std::string_view);
// "127.0.0.1:6379", "[::1]:53", "redis.staging:6379".
std::string host_port_problem(std::string_view);
// "10.0.0.7", "fd00::7".
std::string address_problem(std::string_view);
// ECMAScript, as std::regex reads it; at most 1000 characters, as it is compiled and run recursively.
std::string regex_problem(std::string_view);
// Lower case letters, digits and dashes, at most 64: it names folders and files.
std::string slug_problem(std::string_view);

// A URL or PostgreSQL connection string without scheme, user, password and parameters, fit for reports.
std::string without_secrets(std::string_view);

}  // namespace squall
