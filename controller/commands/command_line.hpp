// What `squall` understands on its command line.
#pragma once

namespace squall {

// Parses, runs the command and returns its exit code; never throws.
int command_line(int argc, char** argv);

}  // namespace squall
