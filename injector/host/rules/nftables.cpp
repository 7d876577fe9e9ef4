#include "injector/host/rules/nftables.hpp"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>

#include "injector/host/netlink/netlink_dump.hpp"

namespace squall::nft {

namespace {

std::uint16_t type_of(std::uint16_t message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

nfgenmsg header(Family family) {
  return {static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
}

void data_value(netlink::Messages& messages, std::uint16_t attribute, std::span<const std::uint8_t> value) {
  auto nest = messages.nest(attribute);
  messages.bytes(NFTA_DATA_VALUE, value.data(), value.size());
}

template <class T>
std::span<const std::uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

}  // namespace

std::string_view name_of(Family family) {
  return family == Family::inet ? "inet" : "netdev";
}

void begin_batch(netlink::Messages& messages) {
  messages.begin(NFNL_MSG_BATCH_BEGIN, 0, nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)});
}
void end_batch(netlink::Messages& messages) {
  // Kernels before 6.9 do not answer the end itself; the last message's answer comes once the whole batch is
  // in force.
  messages.ask();
  messages.begin(NFNL_MSG_BATCH_END, 0, nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)});
}

void add_table(netlink::Messages& messages, Family family, std::string_view name) {
  messages.begin(type_of(NFT_MSG_NEWTABLE), NLM_F_CREATE | NLM_F_EXCL, header(family));
  messages.text(NFTA_TABLE_NAME, name);
  messages.be32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
}

void delete_table(netlink::Messages& messages, Family family, std::string_view name) {
  messages.begin(type_of(NFT_MSG_DELTABLE), 0, header(family));
  messages.text(NFTA_TABLE_NAME, name);
}

void delete_rules(netlink::Messages& messages, Family family, std::string_view table) {
  messages.begin(type_of(NFT_MSG_DELRULE), 0, header(family));
  messages.text(NFTA_RULE_TABLE, table);
}

void add_chain(netlink::Messages& messages, const Chain& chain) {
  messages.begin(type_of(NFT_MSG_NEWCHAIN), NLM_F_CREATE, header(chain.family));
  messages.text(NFTA_CHAIN_TABLE, chain.table);
  messages.text(NFTA_CHAIN_NAME, chain.name);
}

void delete_rules(netlink::Messages& messages, const Chain& chain) {
  delete_rules(messages, chain.family, chain.table);
  messages.text(NFTA_RULE_CHAIN, chain.name);
}

void add_base_chain(netlink::Messages& messages, const Chain& chain, const Hook& hook) {
  add_chain(messages, chain);
  {
    auto nest = messages.nest(NFTA_CHAIN_HOOK);
    messages.be32(NFTA_HOOK_HOOKNUM, hook.number);
    messages.be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(hook.priority));
    if (!hook.device.empty()) messages.text(NFTA_HOOK_DEV, hook.device);
  }
  messages.text(NFTA_CHAIN_TYPE, hook.type);
}

void add_set(netlink::Messages& messages, const Set& set) {
  messages.begin(type_of(NFT_MSG_NEWSET), NLM_F_CREATE | NLM_F_EXCL, header(set.family));
  messages.text(NFTA_SET_TABLE, set.table);
  messages.text(NFTA_SET_NAME, set.name);
  messages.be32(NFTA_SET_FLAGS, set.timeout_ms    ? NFT_SET_TIMEOUT | NFT_SET_EVAL
                                : set.value_bytes ? NFT_SET_MAP
                                                  : 0);
  messages.be32(NFTA_SET_KEY_TYPE, set.key_type);
  messages.be32(NFTA_SET_KEY_LEN, set.key_bytes);
  messages.be32(NFTA_SET_ID, set.key_bytes);  // within the batch, where it is found by its name
  if (set.value_bytes) {
    messages.be32(NFTA_SET_DATA_TYPE, set.value_type);
    messages.be32(NFTA_SET_DATA_LEN, set.value_bytes);
  }
  if (!set.timeout_ms) return;
  messages.be64(NFTA_SET_TIMEOUT, set.timeout_ms);
  auto nest = messages.nest(NFTA_SET_DESC);
  messages.be32(NFTA_SET_DESC_SIZE, set.most);
}

void add_keys(netlink::Messages& messages, const Set& set, std::span<const std::uint8_t> keys) {
  constexpr std::size_t most = 1000;  // an attribute holds 64 KiB
  while (!keys.empty()) {
    const auto part = keys.first(std::min(keys.size(), most * set.key_bytes));
    keys = keys.subspan(part.size());
    messages.begin(type_of(NFT_MSG_NEWSETELEM), NLM_F_CREATE, header(set.family));
    messages.text(NFTA_SET_ELEM_LIST_TABLE, set.table);
    messages.text(NFTA_SET_ELEM_LIST_SET, set.name);
    auto elements = messages.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
    for (std::size_t at = 0; at < part.size(); at += set.key_bytes) {
      auto element = messages.nest(NFTA_LIST_ELEM);
      data_value(messages, NFTA_SET_ELEM_KEY, part.subspan(at, set.key_bytes));
    }
  }
}

void add_entry(netlink::Messages& messages, const Set& map, std::uint32_t key,
               std::span<const std::uint8_t> value) {
  messages.begin(type_of(NFT_MSG_NEWSETELEM), NLM_F_CREATE, header(map.family));
  messages.text(NFTA_SET_ELEM_LIST_TABLE, map.table);
  messages.text(NFTA_SET_ELEM_LIST_SET, map.name);
  auto elements = messages.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
  auto element = messages.nest(NFTA_LIST_ELEM);
  data_value(messages, NFTA_SET_ELEM_KEY, bytes_of(key));
  data_value(messages, NFTA_SET_ELEM_DATA, value);
}

// One element of a rule's list.
struct Rule::Expression {
  Expression(netlink::Messages& messages, std::string_view name)
      : element(messages.nest(NFTA_LIST_ELEM)), data(begin(messages, name)) {}
  static netlink::Messages::Nest begin(netlink::Messages& messages, std::string_view name) {
    messages.text(NFTA_EXPR_NAME, name);
    return messages.nest(NFTA_EXPR_DATA);
  }
  netlink::Messages::Nest element, data;  // the inner one ends first
};

namespace {
netlink::Messages::Nest begin_rule(netlink::Messages& messages, const Chain& chain) {
  messages.begin(type_of(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND, header(chain.family));
  messages.text(NFTA_RULE_TABLE, chain.table);
  messages.text(NFTA_RULE_CHAIN, chain.name);
  return messages.nest(NFTA_RULE_EXPRESSIONS);
}
}  // namespace

Rule::Rule(netlink::Messages& messages, const Chain& chain)
    : messages_(messages), expressions_(begin_rule(messages, chain)) {}

Rule& Rule::meta(std::uint32_t key, std::uint32_t into) {
  Expression expression{messages_, "meta"};
  messages_.be32(NFTA_META_DREG, into);
  messages_.be32(NFTA_META_KEY, key);
  return *this;
}

Rule& Rule::set_mark() {
  Expression expression{messages_, "meta"};
  messages_.be32(NFTA_META_SREG, NFT_REG_1);
  messages_.be32(NFTA_META_KEY, NFT_META_MARK);
  return *this;
}

Rule& Rule::payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size, std::uint32_t into) {
  Expression expression{messages_, "payload"};
  messages_.be32(NFTA_PAYLOAD_DREG, into);
  messages_.be32(NFTA_PAYLOAD_BASE, base);
  messages_.be32(NFTA_PAYLOAD_OFFSET, offset);
  messages_.be32(NFTA_PAYLOAD_LEN, size);
  return *this;
}

Rule& Rule::mask(std::span<const std::uint8_t> keep) {
  Expression expression{messages_, "bitwise"};
  messages_.be32(NFTA_BITWISE_SREG, NFT_REG_1);
  messages_.be32(NFTA_BITWISE_DREG, NFT_REG_1);
  messages_.be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(keep.size()));
  data_value(messages_, NFTA_BITWISE_MASK, keep);
  data_value(messages_, NFTA_BITWISE_XOR, std::vector<std::uint8_t>(keep.size()));
  return *this;
}

Rule& Rule::bits(std::uint32_t keep, std::uint32_t toggle) {
  Expression expression{messages_, "bitwise"};
  messages_.be32(NFTA_BITWISE_SREG, NFT_REG_1);
  messages_.be32(NFTA_BITWISE_DREG, NFT_REG_1);
  messages_.be32(NFTA_BITWISE_LEN, sizeof keep);
  data_value(messages_, NFTA_BITWISE_MASK, bytes_of(keep));
  data_value(messages_, NFTA_BITWISE_XOR, bytes_of(toggle));
  return *this;
}

Rule& Rule::compare(std::uint32_t op, std::span<const std::uint8_t> value) {
  Expression expression{messages_, "cmp"};
  messages_.be32(NFTA_CMP_SREG, NFT_REG_1);
  messages_.be32(NFTA_CMP_OP, op);
  data_value(messages_, NFTA_CMP_DATA, value);
  return *this;
}

Rule& Rule::to_network_order() {
  Expression expression{messages_, "byteorder"};
  messages_.be32(NFTA_BYTEORDER_SREG, NFT_REG_1);
  messages_.be32(NFTA_BYTEORDER_DREG, NFT_REG_1);
  messages_.be32(NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
  messages_.be32(NFTA_BYTEORDER_LEN, 4);
  messages_.be32(NFTA_BYTEORDER_SIZE, 4);
  return *this;
}

Rule& Rule::within32(std::uint32_t least, std::uint32_t most) {
  const std::uint32_t low = htonl(least), high = htonl(most);
  return to_network_order().compare(NFT_CMP_GTE, bytes_of(low)).compare(NFT_CMP_LTE, bytes_of(high));
}

Rule& Rule::is(std::span<const std::uint8_t> value) {
  return compare(NFT_CMP_EQ, value);
}
Rule& Rule::is8(std::uint8_t value) {
  return is(bytes_of(value));
}
Rule& Rule::is16(std::uint16_t value) {
  return is(bytes_of(static_cast<std::uint16_t>(htons(value))));
}
Rule& Rule::is32(std::uint32_t value) {
  return is(bytes_of(value));
}
Rule& Rule::is_not32(std::uint32_t value) {
  return compare(NFT_CMP_NEQ, bytes_of(value));
}
Rule& Rule::is64(std::uint64_t value) {
  return is(bytes_of(value));
}

Rule& Rule::socket_cgroup(std::uint32_t level) {
  Expression expression{messages_, "socket"};
  messages_.be32(NFTA_SOCKET_KEY, NFT_SOCKET_CGROUPV2);
  messages_.be32(NFTA_SOCKET_LEVEL, level);
  messages_.be32(NFTA_SOCKET_DREG, NFT_REG_1);
  return *this;
}

Rule& Rule::destination_type() {
  Expression expression{messages_, "fib"};
  messages_.be32(NFTA_FIB_DREG, NFT_REG_1);
  messages_.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  messages_.be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  return *this;
}

Rule& Rule::chance(std::uint32_t part, std::uint32_t of) {
  {
    Expression expression{messages_, "numgen"};
    messages_.be32(NFTA_NG_DREG, NFT_REG_1);
    messages_.be32(NFTA_NG_MODULUS, of);
    messages_.be32(NFTA_NG_TYPE, NFT_NG_RANDOM);
  }
  return to_network_order().compare(NFT_CMP_LT, bytes_of(static_cast<std::uint32_t>(htonl(part))));
}

Rule& Rule::connections_beyond(std::uint32_t count) {
  Expression expression{messages_, "connlimit"};
  messages_.be32(NFTA_CONNLIMIT_COUNT, count);
  messages_.be32(NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);  // else: up to so many
  return *this;
}

Rule& Rule::among(std::string_view set) {
  Expression expression{messages_, "lookup"};
  messages_.text(NFTA_LOOKUP_SET, set);
  messages_.be32(NFTA_LOOKUP_SREG, first_word);
  return *this;
}

void Rule::remember(std::string_view set) {
  Expression expression{messages_, "dynset"};
  messages_.text(NFTA_DYNSET_SET_NAME, set);
  messages_.be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);  // its time begins anew
  messages_.be32(NFTA_DYNSET_SREG_KEY, first_word);
}

Rule& Rule::entry_of(std::string_view map) {
  Expression expression{messages_, "lookup"};
  messages_.text(NFTA_LOOKUP_SET, map);
  messages_.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
  messages_.be32(NFTA_LOOKUP_DREG, NFT_REG_1);
  return *this;
}

void Rule::source(bool v6) {
  Expression expression{messages_, "nat"};
  messages_.be32(NFTA_NAT_TYPE, NFT_NAT_SNAT);
  messages_.be32(NFTA_NAT_FAMILY, v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
  messages_.be32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
}

Rule& Rule::count() {
  Expression expression{messages_, "counter"};
  return *this;
}

void Rule::verdict(std::int32_t code, std::string_view chain) {
  Expression expression{messages_, "immediate"};
  messages_.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  auto data = messages_.nest(NFTA_IMMEDIATE_DATA);
  auto nest = messages_.nest(NFTA_DATA_VERDICT);
  messages_.be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code));
  if (!chain.empty()) messages_.text(NFTA_VERDICT_CHAIN, chain);
}

void Rule::jump(std::string_view chain) {
  verdict(NFT_JUMP, chain);
}
void Rule::go(std::string_view chain) {
  verdict(NFT_GOTO, chain);
}
void Rule::leave() {
  verdict(NFT_RETURN, "");
}
void Rule::accept() {
  verdict(NF_ACCEPT, "");
}

void Rule::drop() {
  verdict(NF_DROP, "");
}

void Rule::reject(bool tcp_reset) {
  Expression expression{messages_, "reject"};
  messages_.be32(NFTA_REJECT_TYPE, tcp_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
  if (!tcp_reset) messages_.u8(NFTA_REJECT_ICMP_CODE, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
}

void Rule::forward(std::uint32_t interface) {
  {
    Expression expression{messages_, "immediate"};
    messages_.be32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
    data_value(messages_, NFTA_IMMEDIATE_DATA, bytes_of(interface));
  }
  Expression expression{messages_, "fwd"};
  messages_.be32(NFTA_FWD_SREG_DEV, NFT_REG_1);
}

void Rule::redirect(std::uint16_t port) {
  {
    Expression expression{messages_, "immediate"};
    messages_.be32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
    data_value(messages_, NFTA_IMMEDIATE_DATA, bytes_of(static_cast<std::uint16_t>(htons(port))));
  }
  Expression expression{messages_, "redir"};
  messages_.be32(NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
}

void Rule::queue(std::uint16_t number, bool compat) {
  if (!compat) {
    Expression expression{messages_, "queue"};
    messages_.be16(NFTA_QUEUE_NUM, number);
    messages_.be16(NFTA_QUEUE_TOTAL, 1);
    messages_.be16(NFTA_QUEUE_FLAGS, NFT_QUEUE_FLAG_BYPASS);
    return;
  }
  Expression expression{messages_, "target"};
  messages_.text(NFTA_TARGET_NAME, "NFQUEUE");
  messages_.be32(NFTA_TARGET_REV, 3);
  alignas(8) std::uint8_t info[(sizeof(xt_NFQ_info_v3) + 7) / 8 * 8] = {};
  const xt_NFQ_info_v3 target{.queuenum = number, .queues_total = 1, .flags = NFQ_FLAG_BYPASS};
  std::memcpy(info, &target, sizeof target);
  messages_.bytes(NFTA_TARGET_INFO, info, sizeof info);
}

std::uint64_t counted(const Chain& chain) {
  netlink::Dumper dumper{NETLINK_NETFILTER};
  std::uint64_t packets = 0;
  auto head = header(chain.family);
  // The kernel tells of this chain alone; a host may have many thousand rules.
  netlink::Messages wanted;
  wanted.begin(type_of(NFT_MSG_GETRULE), 0, head);
  wanted.text(NFTA_RULE_TABLE, chain.table);
  wanted.text(NFTA_RULE_CHAIN, chain.name);
  dumper.dump(
      type_of(NFT_MSG_GETRULE), std::as_bytes(wanted.data().subspan(NLMSG_HDRLEN)),
      [&](const nlmsghdr* message) {
        if (packets || netlink::text(netlink::find(message, sizeof head, NFTA_RULE_TABLE)) != chain.table ||
            netlink::text(netlink::find(message, sizeof head, NFTA_RULE_CHAIN)) != chain.name)
          return;
        netlink::each_attribute(netlink::payload(netlink::find(message, sizeof head, NFTA_RULE_EXPRESSIONS)),
                                [&](const nlattr* element) {
                                  if (netlink::text(netlink::find(element, NFTA_EXPR_NAME)) != "counter")
                                    return;
                                  const auto* value = netlink::find(netlink::find(element, NFTA_EXPR_DATA),
                                                                    NFTA_COUNTER_PACKETS);
                                  const auto bytes = netlink::payload(value);
                                  std::uint64_t big = 0;
                                  if (bytes.size() == sizeof big) std::memcpy(&big, bytes.data(), sizeof big);
                                  packets = be64toh(big);
                                });
      });
  return packets;
}

bool table_exists(Family family, std::string_view name) {
  netlink::Socket socket{NETLINK_NETFILTER};
  netlink::Messages messages;
  messages.begin(type_of(NFT_MSG_GETTABLE), NLM_F_ACK, header(family));
  messages.text(NFTA_TABLE_NAME, name);
  bool found = false;
  socket.exchange(messages, [&](const nlmsghdr*) { found = true; });
  return found;
}

bool chain_exists(const Chain& chain) {
  netlink::Socket socket{NETLINK_NETFILTER};
  netlink::Messages messages;
  messages.begin(type_of(NFT_MSG_GETCHAIN), NLM_F_ACK, header(chain.family));
  messages.text(NFTA_CHAIN_TABLE, chain.table);
  messages.text(NFTA_CHAIN_NAME, chain.name);
  bool found = false;
  socket.exchange(messages, [&](const nlmsghdr*) { found = true; });
  return found;
}

}  // namespace squall::nft
