// What a host can lack before anything is sent: a port, a descriptor, memory, a network at all. A service has
// no part in it.
#pragma once

#include <string_view>

namespace squall {

// Of errno's values.
bool is_own_trouble(int error);
// The same by its text, in any case, at the end of a longer one: of libraries that keep the number to
// themselves.
bool is_own_text(std::string_view text);
// Whether this process could open another descriptor. Resolvers that could not only say that they found
// nothing.
bool has_descriptors_left();

}  // namespace squall
