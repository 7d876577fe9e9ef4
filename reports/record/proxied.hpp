// The faults tcp.* and http.* stand between a service and its clients, and accept connections before the
// service does. What ends with the handshake, as a tcp probe does, is answered by them and not by the
// service.
#pragma once

#include "reports/record/record.hpp"

namespace squall {

// Takes the word of tcp probes whose handshakes such a fault made: they say nothing of the service.
void mark_proxied_handshakes(RunRecord&);

}  // namespace squall
