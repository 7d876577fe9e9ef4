#include "injector/system/mounts.hpp"

#include <charconv>

#include "injector/system/read_file.hpp"

namespace squall {

std::string unescape_mount(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

namespace {

std::string_view next_word(std::string_view& line) {
  auto end = std::min(line.find(' '), line.size());
  auto word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template <class N>
N number(std::string_view text) {
  N value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Mount parse_line(std::string_view line) {
  Mount mount;
  mount.id = number<int>(next_word(line));
  mount.parent = number<int>(next_word(line));
  auto device = next_word(line);
  auto colon = std::min(device.find(':'), device.size());
  mount.major = number<unsigned>(device.substr(0, colon));
  mount.minor = number<unsigned>(device.substr(std::min(colon + 1, device.size())));
  mount.root = unescape_mount(next_word(line));
  mount.point = unescape_mount(next_word(line));
  mount.options = next_word(line);
  while (!line.empty() && next_word(line) != "-") {  // optional fields: shared:1, master:2 …
  }
  mount.type = next_word(line);
  mount.source = unescape_mount(next_word(line));
  mount.super_options = next_word(line);
  return mount;
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view all) {
  std::vector<Mount> mounts;
  while (!all.empty()) {
    auto end = std::min(all.find('\n'), all.size());
    if (end > 0) mounts.push_back(parse_line(all.substr(0, end)));
    all.remove_prefix(std::min(end + 1, all.size()));
  }
  return mounts;
}

std::vector<Mount> read_mounts(std::string_view pid) {
  auto text = read_file(fmt::format("/proc/{}/mountinfo", pid));
  return text ? parse_mountinfo(*text) : std::vector<Mount>{};
}

}  // namespace squall
