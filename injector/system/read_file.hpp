// Small files of the kernel's, and its folders, which come and go.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace squall {

// What the file holds; nothing where it cannot be read, errno then says why.
std::optional<std::string> read_file(const std::string& path);

// Writes in a single write(2), as kernel files need it; throws std::system_error without changing anything
// where the kernel refuses. `what` names the attempt: "limit …: ".
void write_file(const std::string& path, std::string_view text, const std::string& what);

// What is in a folder, as far as it can be read: a folder of the kernel's may go while it is listed.
std::vector<std::filesystem::path> entries(const std::filesystem::path& folder);

std::string_view trimmed(std::string_view);

}  // namespace squall
