// Reads a small kernel file whole.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace squall {

// What the file holds; nothing where it cannot be read, errno then says why.
std::optional<std::string> read_file(const std::string& path);

// Writes in a single write(2), as kernel files need it; throws std::system_error without changing anything
// where the kernel refuses. `what` names the attempt: "limit …: ".
void write_file(const std::string& path, std::string_view text, const std::string& what);

std::string_view trimmed(std::string_view);

}  // namespace squall
