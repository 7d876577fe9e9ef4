// nf_tables by netlink: tables that live as long as the socket that made them (NFT_TABLE_F_OWNER,
// Linux 5.12), so that nothing of them survives our death.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "injector/host/netlink/netlink.hpp"

struct nlmsghdr;

namespace squall::nft {

enum class Family : std::uint8_t { inet = 1, netdev = 5 };  // NFPROTO_INET, NFPROTO_NETDEV
std::string_view name_of(Family);

void begin_batch(netlink::Messages&);
void end_batch(netlink::Messages&);

void add_table(netlink::Messages&, Family, std::string_view name);
void delete_table(netlink::Messages&, Family, std::string_view name);
void delete_rules(netlink::Messages&, Family, std::string_view table);

struct Chain {
  Family family = Family::inet;
  std::string table, name;
};
void add_chain(netlink::Messages&, const Chain&);
void delete_rules(netlink::Messages&, const Chain&);
struct Hook {
  std::uint32_t number = 0;
  std::int32_t priority = 0;
  std::string device;  // netdev only
  std::string_view type = "filter";
};
void add_base_chain(netlink::Messages&, const Chain&, const Hook&);

// A set of keys of so many bytes. With a timeout rules add to it, and each key goes when no packet renewed it
// for so long.
struct Set {
  Family family = Family::inet;
  std::string table, name;
  std::uint32_t key_bytes = 0, most = 0;  // most: only with a timeout
  std::uint64_t timeout_ms = 0;
  std::uint32_t key_type =
      0;  // of nft(8), which reads a set of ours back only with it (ipv4_address …); the kernel does not look
  std::uint32_t value_bytes = 0, value_type = 0;  // of a map: what each key leads to
};
constexpr std::uint32_t ipv4_address = 7, ipv6_address = 8,
                        class_id = 23;  // enum datatypes of nft's include/datatype.h
void add_set(netlink::Messages&, const Set&);
// Keys that are not in it yet, one behind another.
void add_keys(netlink::Messages&, const Set&, std::span<const std::uint8_t> keys);
void add_entry(netlink::Messages&, const Set& map, std::uint32_t key, std::span<const std::uint8_t> value);

// One rule, written expression by expression in the order of their evaluation; complete when it goes out of
// scope. Values pass through one register, but for those of a key: it lies in a row of 32-bit words, the
// first of which are that register.
class Rule {
 public:
  Rule(netlink::Messages&, const Chain&);
  Rule(const Rule&) = delete;

  static constexpr std::uint32_t one_register = 1, first_word = 8;  // NFT_REG_1, NFT_REG32_00
  Rule& meta(std::uint32_t key, std::uint32_t into = one_register);
  Rule& set_mark();  // from the register
  Rule& payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size,
                std::uint32_t into = one_register);
  Rule& mask(std::span<const std::uint8_t> keep);
  Rule& bits(std::uint32_t keep, std::uint32_t toggle);  // of a value in the host's byte order
  Rule& compare(std::uint32_t op, std::span<const std::uint8_t>);
  // Of a value of 32 bits in the host's byte order, both inclusive.
  Rule& within32(std::uint32_t least, std::uint32_t most);
  Rule& is(std::span<const std::uint8_t> value);
  Rule& is8(std::uint8_t);
  Rule& is16(std::uint16_t);  // network byte order on the wire
  Rule& is32(std::uint32_t);  // the host's byte order
  Rule& is_not32(std::uint32_t);
  Rule& is64(std::uint64_t);  // the host's byte order
  Rule& socket_cgroup(std::uint32_t level);
  Rule& destination_type();  // RTN_LOCAL where it is an address of this host's (fib)
  Rule& chance(std::uint32_t part, std::uint32_t of);  // below 2^31
  Rule& connections_beyond(
      std::uint32_t);                 // of this rule, each counted from the first packet that comes here
  Rule& among(std::string_view set);  // the key in the words
  void remember(std::string_view set);
  Rule& entry_of(std::string_view map);  // the register's value becomes what it leads to; what is not in the
                                         // map is not meant
  Rule& count();
  void jump(std::string_view chain);
  void go(std::string_view chain);
  void leave();  // return
  void accept();
  void drop();
  // Drops and tells the sender: a TCP reset, or that the way is closed by an administrator (ICMP).
  void reject(bool tcp_reset);
  void forward(std::uint32_t interface);
  // To a port of this host (chains of type nat): of the address the packet came in by, or of loopback.
  void redirect(std::uint16_t port);
  // From the address in the register on (chains of type nat): the receiver sees it, and the kernel brings the
  // answers back.
  void source(bool v6);
  // To a packet queue; packets pass while nobody listens there. `compat` uses the xtables target, for kernels
  // without nft_queue.
  void queue(std::uint16_t number, bool compat);

 private:
  struct Expression;
  Rule& to_network_order();  // "less" and "greater" compare bytes
  void verdict(std::int32_t code, std::string_view chain);

  netlink::Messages& messages_;
  netlink::Messages::Nest expressions_;
};

// Packets that passed the first `counter` of a chain; 0 where there is none. Reads the caller's network
// namespace.
std::uint64_t counted(const Chain&);
// Whether they exist in the caller's network namespace.
bool table_exists(Family, std::string_view name);
bool chain_exists(const Chain&);

}  // namespace squall::nft
