// Tokens: made of the kernel's randomness, kept as their SHA-256 only, compared in constant time.
#pragma once

#include <string>
#include <string_view>

namespace squall::serve {

std::string sha256_hex(std::string_view);
// 256 bits of getrandom(2) in hex; throws std::runtime_error where the kernel gives none.
std::string new_token();
// Takes as long for any two texts of one length.
bool same_secret(std::string_view, std::string_view);

}  // namespace squall::serve
