#include "injector/host/tc/packet_filter.hpp"

#include <bit>
#include <map>
#include <stdexcept>

#include <netinet/in.h>

#include <linux/if_ether.h>

#include <fmt/format.h>

namespace squall {

namespace {

constexpr std::uint32_t network = static_cast<std::uint32_t>(SKF_NET_OFF);
// Words of the scratch memory: the transport protocol, 255 behind a fragment's first; whether it is one of
// those.
constexpr std::uint32_t protocol_of = 0, later_fragment = 1;
constexpr std::uint32_t no_ports = 255;

// Instructions with jumps to labels. A conditional jump reaches 255 instructions only, so each stands before
// an unconditional one, which reaches all.
class Assembler {
 public:
  void emit(std::uint16_t code, std::uint32_t k = 0, std::uint8_t jump_true = 0,
            std::uint8_t jump_false = 0) {
    code_.push_back({code, jump_true, jump_false, k});
  }
  void go(const std::string& label) {
    references_.emplace_back(code_.size(), label);
    emit(BPF_JMP | BPF_JA);
  }
  void go_if_equal(std::uint32_t value, const std::string& label) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    go(label);
  }
  void go_if_at_least(std::uint32_t value, const std::string& label) {
    emit(BPF_JMP | BPF_JGE | BPF_K, value, 0, 1);
    go(label);
  }
  void label(const std::string& name) { labels_[name] = code_.size(); }

  std::vector<sock_filter> done() {
    if (code_.size() > BPF_MAXINSNS)
      throw std::runtime_error(
          fmt::format("so many addresses and ports need {} instructions of a filter, the kernel takes {}",
                      code_.size(), BPF_MAXINSNS));
    for (auto& [at, name] : references_)
      code_[at].k = static_cast<std::uint32_t>(labels_.at(name) - at - 1);
    return code_;
  }

 private:
  std::vector<sock_filter> code_;
  std::vector<std::pair<std::size_t, std::string>> references_;
  std::map<std::string, std::size_t> labels_;
};

class Program {
 public:
  explicit Program(const PacketMatch& match) : match_(match) {}

  std::vector<sock_filter> write(std::uint32_t matched) {
    out_.emit(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL));
    out_.go_if_equal(ETH_P_IP, "v4");
    out_.go_if_equal(ETH_P_IPV6, "v6");
    out_.go("no");
    family(false);
    family(true);
    out_.label("yes");
    out_.emit(BPF_RET | BPF_K, matched);
    out_.label("no");
    out_.emit(BPF_RET | BPF_K, 0);
    return out_.done();
  }

 private:
  void load(std::uint16_t size, std::uint32_t offset) {
    out_.emit(static_cast<std::uint16_t>(BPF_LD | size | BPF_ABS), network + offset);
  }
  void load_transport(std::uint16_t size, std::uint32_t offset) {
    out_.emit(static_cast<std::uint16_t>(BPF_LD | size | BPF_IND), network + offset);
  }
  std::string fresh() { return fmt::format("l{}", ++fresh_); }

  void family(bool v6) {
    out_.label(v6 ? "v6" : "v4");
    if (!match_.peers.empty() &&
        std::none_of(match_.peers.begin(), match_.peers.end(), [&](auto& peer) { return peer.v6 == v6; }))
      return out_.go("no");
    protocol(v6);
    if (v6) spare_neighbour_discovery();
    spare_control();
    for (auto* spared : {&match_.exempt_peers, &match_.left_out})
      for (auto& peer : *spared)
        if (peer.v6 == v6)
          for (const std::uint32_t offset : {v6 ? 8U : 12U, v6 ? 24U : 16U})
            address(peer, offset, "no");
    peers(v6);
    for (auto& condition : match_.ports)
      ports(condition);
    out_.go("yes");
  }

  void store(std::uint32_t word) { out_.emit(BPF_ST, word); }
  void recall(std::uint32_t word) { out_.emit(BPF_LD | BPF_W | BPF_MEM, word); }

  // The transport's offset goes to X, its protocol to the scratch word.
  void protocol(bool v6) {
    v6 ? find_transport_v6() : find_transport_v4();
    const auto fits = fresh(), first = fresh();
    const auto wanted = protocols_of(match_, v6);
    recall(protocol_of);
    for (auto one : wanted)
      out_.go_if_equal(one, fits);
    if (!wanted.empty()) out_.go("no");
    out_.label(fits);
    recall(later_fragment);
    out_.go_if_equal(0, first);
    if (!match_.ports.empty()) out_.go("no");
    out_.emit(BPF_LD | BPF_W | BPF_IMM, no_ports);
    store(protocol_of);
    out_.label(first);
  }

  void find_transport_v4() {
    load(BPF_B, 9);
    store(protocol_of);
    load(BPF_H, 6);
    out_.emit(BPF_ALU | BPF_AND | BPF_K, 0x1fff);
    store(later_fragment);
    out_.emit(BPF_LDX | BPF_B | BPF_MSH, network);
  }

  // Past the headers between the first and the transport's. There are no loops: one step is written out for
  // each.
  void find_transport_v6() {
    constexpr int steps = 6;
    const auto done = fresh();
    out_.emit(BPF_LD | BPF_W | BPF_IMM, 0);
    store(later_fragment);
    load(BPF_B, 6);
    store(protocol_of);
    out_.emit(BPF_LDX | BPF_W | BPF_IMM, 40);
    for (int step = 0; step < steps; ++step) {
      const auto options = fresh(), fragment = fresh(), authentication = fresh(), next = fresh();
      recall(protocol_of);
      for (auto one : {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS})
        out_.go_if_equal(static_cast<std::uint32_t>(one), options);
      out_.go_if_equal(IPPROTO_FRAGMENT, fragment);
      if (match_.protocol != Protocol::ah) out_.go_if_equal(IPPROTO_AH, authentication);
      out_.go(done);
      out_.label(options);
      skip_header(1, 3);
      out_.go(next);
      out_.label(authentication);
      skip_header(2, 2);
      out_.go(next);
      out_.label(fragment);
      load_transport(BPF_H, 2);
      out_.emit(BPF_ALU | BPF_AND | BPF_K, 0xfff8);
      store(later_fragment);
      load_transport(BPF_B, 0);
      store(protocol_of);
      recall(later_fragment);
      out_.emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
      out_.go(done);
      out_.emit(BPF_LD | BPF_W | BPF_IMM, 8);
      to_x();
      out_.label(next);
    }
    out_.label(done);
  }

  // Its length is told in units of 2^shift bytes, some of which are not counted.
  void skip_header(std::uint32_t uncounted, std::uint32_t shift) {
    load_transport(BPF_B, 0);
    store(protocol_of);
    load_transport(BPF_B, 1);
    out_.emit(BPF_ALU | BPF_ADD | BPF_K, uncounted);
    out_.emit(BPF_ALU | BPF_LSH | BPF_K, shift);
    to_x();
  }
  void to_x() {
    out_.emit(BPF_ALU | BPF_ADD | BPF_X);
    out_.emit(BPF_MISC | BPF_TAX);
  }

  void spare_neighbour_discovery() {
    const auto other = fresh(), neighbour = fresh();
    out_.emit(BPF_LD | BPF_W | BPF_MEM, protocol_of);
    out_.go_if_equal(IPPROTO_ICMPV6, neighbour);
    out_.go(other);
    out_.label(neighbour);
    load_transport(BPF_B, 0);
    out_.go_if_at_least(138, other);  // RFC 4861: 133 to 137
    out_.go_if_at_least(133, "no");
    out_.label(other);
  }

  void spare_control() {
    if (match_.exempt.empty()) return;
    const auto other = fresh(), tcp = fresh();
    out_.emit(BPF_LD | BPF_W | BPF_MEM, protocol_of);
    out_.go_if_equal(IPPROTO_TCP, tcp);
    out_.go(other);
    out_.label(tcp);
    for (std::uint32_t side : {0U, 2U}) {
      load_transport(BPF_H, side);
      for (auto port : match_.exempt)
        out_.go_if_equal(port, "no");
    }
    out_.label(other);
  }

  void peers(bool v6) {
    if (match_.peers.empty()) return;
    const auto fits = fresh();
    const std::uint32_t source = v6 ? 8 : 12, destination = v6 ? 24 : 16;
    for (auto& peer : match_.peers) {
      if (peer.v6 != v6) continue;
      if (match_.peer != Side::destination) address(peer, source, fits);
      if (match_.peer != Side::source) address(peer, destination, fits);
    }
    out_.go("no");
    out_.label(fits);
  }

  void address(const Prefix& peer, std::uint32_t offset, const std::string& fits) {
    const auto differs = fresh();
    const auto mask = peer.mask();
    for (std::uint32_t word = 0; word < peer.bytes() / 4; ++word) {
      const auto bits = [&](const std::array<std::uint8_t, 16>& bytes) {
        const auto* at = bytes.data() + 4 * word;
        return static_cast<std::uint32_t>(at[0]) << 24 | static_cast<std::uint32_t>(at[1]) << 16 |
               static_cast<std::uint32_t>(at[2]) << 8 | at[3];
      };
      if (bits(mask) == 0) break;
      load(BPF_W, offset + 4 * word);
      if (bits(mask) != 0xffffffff) out_.emit(BPF_ALU | BPF_AND | BPF_K, bits(mask));
      out_.emit(BPF_JMP | BPF_JEQ | BPF_K, bits(peer.address), 1, 0);
      out_.go(differs);
    }
    out_.go(fits);
    out_.label(differs);
  }

  void ports(const PortCondition& condition) {
    const auto fits = fresh();
    for (std::uint32_t side : {0U, 2U}) {
      if (condition.side == (side == 0 ? Side::destination : Side::source)) continue;
      load_transport(BPF_H, side);
      for (auto port : condition.ports)
        out_.go_if_equal(port, fits);
    }
    out_.go("no");
    out_.label(fits);
  }

  const PacketMatch& match_;
  Assembler out_;
  int fresh_ = 0;
};

}  // namespace

std::vector<sock_filter> packet_filter(const PacketMatch& match, std::uint32_t matched) {
  return Program{match}.write(matched);
}

std::vector<sock_filter> sampling_filter(unsigned one_in, std::uint32_t bytes) {
  if (one_in <= 1) return {BPF_STMT(BPF_RET | BPF_K, bytes)};
  // The seventh and eighth byte of the transport's header vary from packet to packet: the low half of TCP's
  // sequence number, the checksum of UDP, the number of an ICMP echo. A product spreads them evenly
  // (Knuth, 6.4).
  Assembler out;
  out.emit(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL));
  out.go_if_equal(ETH_P_IPV6, "v6");
  out.emit(BPF_LDX | BPF_B | BPF_MSH, network);
  out.go("look");
  out.label("v6");
  out.emit(BPF_LDX | BPF_W | BPF_IMM, 40);
  out.label("look");
  out.emit(BPF_LD | BPF_H | BPF_IND, network + 6);
  out.emit(BPF_ALU | BPF_MUL | BPF_K, 2654435769U);
  out.emit(BPF_ALU | BPF_RSH | BPF_K, 32 - static_cast<std::uint32_t>(std::bit_width(one_in) - 1));
  out.emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
  out.emit(BPF_RET | BPF_K, bytes);
  out.emit(BPF_RET | BPF_K, 0);
  return out.done();
}

}  // namespace squall
