// Passwords that stand in texts people pass around: scenarios, addresses, what a server answered.
#pragma once

#include <string>
#include <string_view>

namespace squall {

// `text` with "REDACTED" for each password: of a URL ("scheme://user:password@host"), and what follows a word
// such as password, token, secret, api_key or bearer and "=" or ":". A word of YAML stays one, so the text
// still parses.
std::string redacted(std::string_view text);

}  // namespace squall
