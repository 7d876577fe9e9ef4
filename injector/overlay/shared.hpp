// What the injector, an overlay's keeper and its worker have in common: one memfd, mapped by all of them. It
// outlives each of them, so that a worker's successor goes on where it was killed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace squall::overlay {

enum class Kind : unsigned { read, write, flush };
inline constexpr std::size_t kinds = 3;

// What happens to operations of one kind; all zeros: nothing. The injector writes, the worker reads.
struct Rule {
  std::atomic<std::int64_t> delay_ns{0},
      jitter_ns{0};           // before the answer; jitter: up to so much more or less
  std::atomic<int> error{0};  // an errno in place of doing it
};

struct Count {
  std::atomic<std::uint64_t> seen{0}, met{0};  // met: delayed or failed by a rule
};

// A file that the kernel knows, by its O_PATH descriptor in the descriptor table that keeper and worker
// share.
struct Node {
  std::atomic<int> descriptor_plus_one{0};  // 0: free
  std::uint64_t device = 0, inode = 0, lookups = 0, generation = 0;
};

struct ByProcess {
  std::atomic<int> pid{0};
  std::atomic<std::uint64_t> operations{0};
};

// A request that is being answered and must not be done again (once.hpp).
struct Performed {
  std::atomic<std::uint64_t> unique{0};  // 0: free
  std::atomic<int> state{0};
  int error = 0;
  std::int64_t before = -1;
};

inline constexpr std::size_t most_performed = 1024;
inline constexpr std::size_t most_nodes = std::size_t{1} << 20, most_processes = 1024;

struct Shared {
  std::atomic<std::uint32_t> let_go{0};             // no rule holds any more, and nothing is to be mounted
  std::atomic<std::uint32_t> wake{0};               // a futex: what is held back is to be looked at
  std::atomic<std::uint32_t> serving{0};            // how many workers have begun to serve
  std::atomic<std::uint32_t> share_ppm{1'000'000};  // of the operations that a rule applies to
  std::uint64_t seed = 1;
  int uncounted_pid = 0;  // the injector: its probes are not the service's work
  Rule rules[kinds];
  Count counts[kinds];
  ByProcess processes[most_processes];
  std::atomic<std::uint32_t> first_request_size{0};
  std::byte first_request[512];  // FUSE_INIT, for a successor
  Performed performed[most_performed];
  Node nodes[most_nodes];
};

// Makes one; -1 and errno where it cannot.
int make_shared();
// nullptr and errno where it cannot be mapped.
Shared* map_shared(int descriptor);
void unmap_shared(Shared*);
// Takes all rules away for good and wakes what is held back.
void let_go(Shared&);
void wake(Shared&);

}  // namespace squall::overlay
