#include "controller/http/own_trouble.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace squall {
namespace {

// Of connect(2) and socket(2). No route (ENETUNREACH) is not among them: that is what a user of this host
// would meet.
constexpr std::array own{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENETDOWN, EAGAIN};

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

}  // namespace

bool is_own_trouble(int error) {
  return std::find(own.begin(), own.end(), error) != own.end();
}

bool is_own_text(std::string_view text) {
  return std::any_of(own.begin(), own.end(), [&](int error) {
    const std::string_view known = std::strerror(error);
    return text.size() >= known.size() &&
           std::equal(known.begin(), known.end(), text.end() - static_cast<std::ptrdiff_t>(known.size()),
                      same_letter);
  });
}

bool has_descriptors_left() {
  const int another = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (another >= 0) ::close(another);
  return another >= 0 || (errno != EMFILE && errno != ENFILE);
}

}  // namespace squall
