#include "injector/host/packet_queue.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <fmt/format.h>

#include "injector/host/close_later.hpp"
#include "injector/host/netfilter_sockets.hpp"
#include "injector/host/packet_headers.hpp"

namespace squall {

namespace {

constexpr std::size_t batch = 64, most_verdict_bytes = 16'384;
constexpr std::size_t longest_packet = 0xffff - NLA_HDRLEN;  // of which a message tells
constexpr std::uint32_t link_header = 14, loopback = 1;
constexpr std::uint32_t for_length = 20, for_ports = 128;  // bytes of a packet that tell

struct Verdict {
  nlmsghdr head;
  nfgenmsg queue;
  nlattr attribute;
  nfqnl_msg_verdict_hdr verdict;
};
static_assert(sizeof(Verdict) == 32);

std::uint16_t type_of(std::uint16_t message) { return static_cast<std::uint16_t>(NFNL_SUBSYS_QUEUE << 8 | message); }

nfgenmsg header(std::uint16_t number) { return {AF_UNSPEC, NFNETLINK_V0, htons(number)}; }

}  // namespace

Way way_of(const QueueWays& ways, std::uint8_t hook, std::uint32_t device, std::span<const char> packet) {
  if (ways.all) return *ways.all;
  if (device != loopback || hook == NF_INET_LOCAL_IN) return Way::in;
  if (ways.out_on_loopback.empty()) return Way::out;
  const auto ports = ports_of(packet);
  auto has = [&](std::uint16_t port, const PortCondition& condition) { return std::find(condition.ports.begin(), condition.ports.end(), port) != condition.ports.end(); };
  const bool out = ports && std::all_of(ways.out_on_loopback.begin(), ways.out_on_loopback.end(), [&](auto& condition) {
                     return (condition.side != Side::destination && has(ports->source, condition)) || (condition.side != Side::source && has(ports->destination, condition));
                   });
  return out ? Way::out : Way::in;
}

PacketQueue::PacketQueue(std::uint16_t start, std::uint32_t longest, std::uint32_t mark, Take take, QueueWays ways)
    : socket_(take_netfilter_socket()), number_(start), mark_(mark), take_(take), ways_(std::move(ways)), buffer_size_(512 + (take == Take::bytes ? longest_packet + 1 : 0)) {
  buffers_.resize(batch * buffer_size_);
  parts_.resize(batch);
  messages_.resize(batch);
  for (std::size_t i = 0; i < batch; ++i) {
    parts_[i] = {&buffers_[i * buffer_size_], buffer_size_};
    messages_[i].msg_hdr.msg_iov = &parts_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }
  for (int attempt = 0;; ++attempt, ++number_) {
    netlink::Messages bind;
    bind.begin(type_of(NFQNL_MSG_CONFIG), NLM_F_ACK, header(number_));
    const nfqnl_msg_config_cmd command{NFQNL_CFG_CMD_BIND, 0, 0};
    bind.bytes(NFQA_CFG_CMD, &command, sizeof command);
    const auto answer = socket_.exchange(bind);
    if (answer) break;
    // A queue belongs to the one socket that bound it; another's number is refused with EPERM or EBUSY.
    if ((answer.error != EBUSY && answer.error != EPERM && answer.error != EEXIST) || attempt == 64)
      throw std::runtime_error(fmt::format("bind a packet queue: {}", answer.text()));
  }
  configure(longest);
  states_ = Fd{::open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC)};
}

void PacketQueue::begin() {
  // While a socket asks for time stamps the kernel stamps every packet on its arrival: the delay counts from there, not
  // from when we read of it.
  stamps_ = Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const int yes = 1;
  if (stamps_) ::setsockopt(stamps_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
  if (take_ == Take::bytes) sender_ = std::make_unique<RawSender>(mark_);
}

PacketQueue::~PacketQueue() {
  netlink::Messages unbind;
  unbind.begin(type_of(NFQNL_MSG_CONFIG), NLM_F_ACK, header(number_));
  const nfqnl_msg_config_cmd command{NFQNL_CFG_CMD_UNBIND, 0, 0};
  unbind.bytes(NFQA_CFG_CMD, &command, sizeof command);
  socket_.exchange(unbind);
  give_back(std::move(socket_));
  close_later(std::move(stamps_));
}

void PacketQueue::configure(std::uint32_t longest) {
  netlink::Messages messages;
  messages.begin(type_of(NFQNL_MSG_CONFIG), NLM_F_ACK, header(number_));
  nfqnl_msg_config_params parameters{};
  const bool ports = !ways_.out_on_loopback.empty();
  parameters.copy_mode = take_ == Take::notice && !ports ? NFQNL_COPY_META : NFQNL_COPY_PACKET;
  // Some bytes at least, or the length is not told.
  parameters.copy_range = htonl(take_ == Take::bytes ? longest_packet : ports ? for_ports : for_length);
  messages.bytes(NFQA_CFG_PARAMS, &parameters, sizeof parameters);
  messages.be32(NFQA_CFG_FLAGS, (take_ == Take::notice ? NFQA_CFG_F_GSO : 0) | NFQA_CFG_F_FAIL_OPEN);
  messages.be32(NFQA_CFG_MASK, NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN);
  messages.be32(NFQA_CFG_QUEUE_MAXLEN, longest);
  const auto answer = socket_.exchange(messages);
  if (!answer) throw std::runtime_error(fmt::format("configure the packet queue {}: {}", number_, answer.text()));
  const int size = 32 << 20, yes = 1;
  ::setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  ::setsockopt(fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &yes, sizeof yes);
}

bool PacketQueue::take(const std::function<void(HeldPacket&&)>& keep) {
  const int got = ::recvmmsg(fd(), messages_.data(), batch, MSG_DONTWAIT, nullptr);
  if (got <= 0) return false;
  now_ = monotonic_ns();
  wall_ahead_ = wall_ns() - now_;
  for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
    // A packet's bytes come last and are not padded, but NLMSG_NEXT takes a multiple of four away.
    auto left = NLMSG_ALIGN(messages_[i].msg_len);
    for (auto* head = reinterpret_cast<nlmsghdr*>(&buffers_[i * buffer_size_]); NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) read_message(head, keep);
  }
  return static_cast<std::size_t>(got) == batch;
}

void PacketQueue::read_message(const nlmsghdr* head, const std::function<void(HeldPacket&&)>& keep) {
  if (head->nlmsg_type == NLMSG_ERROR) {
    // The packet of a verdict is gone (ENOENT): whoever unregisters a netfilter hook makes the kernel drop all that
    // waits in the queues of the namespace. A verdict about many fails where none of them is left.
    if (static_cast<const nlmsgerr*>(NLMSG_DATA(const_cast<nlmsghdr*>(head)))->error) lost_ += head->nlmsg_seq;
    return;
  }
  if (head->nlmsg_type != type_of(NFQNL_MSG_PACKET)) return;
  HeldPacket packet;
  packet.source = this;
  packet.entered = now_;
  const auto* bytes = reinterpret_cast<const char*>(head);
  bool cut = false;
  std::uint8_t hook = 0;
  std::uint32_t device = 0;
  std::span<const char> told;
  for (std::size_t at = NLMSG_HDRLEN + sizeof(nfgenmsg); at + sizeof(nlattr) <= head->nlmsg_len;) {
    const auto* attribute = reinterpret_cast<const nlattr*>(bytes + at);
    if (attribute->nla_len < sizeof(nlattr)) break;
    const auto* value = bytes + at + sizeof(nlattr);
    if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
      packet.id = ntohl(reinterpret_cast<const nfqnl_msg_packet_hdr*>(value)->packet_id);
      hook = reinterpret_cast<const nfqnl_msg_packet_hdr*>(value)->hook;
      untold_ += packet.id - last_id_ - 1;
      if (fates_.empty()) first_id_ = packet.id;
      const std::size_t known = packet.id - first_id_ + 1;
      if (known > fates_.capacity()) fates_.set_capacity(std::max(known, 2 * fates_.capacity()));
      while (fates_.size() + 1 < known) fates_.push_back(Fate::judged);
      fates_.push_back(Fate::waits);
      last_id_ = packet.id;
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_IFINDEX_INDEV) {
      std::memcpy(&device, value, sizeof device);
      device = ntohl(device);
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_TIMESTAMP) {
      nfqnl_msg_packet_timestamp stamp;
      std::memcpy(&stamp, value, sizeof stamp);
      const auto at_ns = static_cast<std::int64_t>(be64toh(stamp.sec) * 1'000'000'000 + be64toh(stamp.usec) * 1'000) - wall_ahead_;
      // A clock that was set meanwhile, or a stamp of another host's making, is not believed.
      if (at_ns <= now_ && at_ns > now_ - 200'000'000) packet.entered = at_ns;
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_CAP_LEN) {
      std::uint32_t whole = 0;
      std::memcpy(&whole, value, sizeof whole);
      packet.wire_bytes = ntohl(whole) + link_header;
      cut = true;
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PAYLOAD) {
      const auto size = static_cast<std::uint32_t>(attribute->nla_len - sizeof(nlattr));
      told = {value, size};
      if (!cut) packet.wire_bytes = size + link_header;
      if (take_ == Take::bytes && !cut) {
        packet.size = packet.capacity = size;
        packet.frame = std::make_unique_for_overwrite<char[]>(size);
        std::memcpy(packet.frame.get(), value, size);
      }
    }
    at += (attribute->nla_len + 3U) & ~3U;
  }
  packet.way = way_of(ways_, hook, device, told);
  keep(std::move(packet));
}

bool PacketQueue::let_go(HeldPacket& packet) {
  if (!packet.copy)
    judge(packet, NF_ACCEPT);
  else if (!sender_ || !sender_->send({packet.frame.get(), packet.size}))
    ++lost_;
  return true;
}

void PacketQueue::discard(HeldPacket& packet) {
  if (!packet.copy) judge(packet, NF_DROP);
}

void PacketQueue::judge(const HeldPacket& packet, std::uint32_t verdict) {
  auto& fate = fates_[packet.id - first_id_];
  if (verdict == NF_ACCEPT && !packet.changed) {
    fate = Fate::accepted;
    accepted_.push_back(packet.id);
    return;
  }
  fate = Fate::judged;
  // Those before it go before it.
  if (verdict == NF_ACCEPT) settle();
  put(NFQNL_MSG_VERDICT, packet.id, verdict, 1, packet.changed ? &packet : nullptr);
}

// One verdict for all up to the first that still waits, and one each for those behind.
void PacketQueue::settle() {
  std::uint32_t last = 0, packets = 0;
  for (; !fates_.empty() && fates_.front() != Fate::waits; fates_.pop_front(), ++first_id_)
    if (fates_.front() == Fate::accepted) last = first_id_, ++packets;
  if (packets > 0) put(NFQNL_MSG_VERDICT_BATCH, last, NF_ACCEPT, packets);
  if (packets < accepted_.size())
    for (const auto id : accepted_) {
      if (static_cast<std::int32_t>(id - first_id_) < 0) continue;
      fates_[id - first_id_] = Fate::judged;
      put(NFQNL_MSG_VERDICT, id, NF_ACCEPT, 1);
    }
  accepted_.clear();
}

// The kernel's answer, where it refuses, has the number of the packets as its sequence.
void PacketQueue::put(std::uint16_t message, std::uint32_t id, std::uint32_t verdict, std::uint32_t packets, const HeldPacket* changed) {
  Verdict one{};
  one.head = {sizeof one, type_of(message), NLM_F_REQUEST, packets, 0};
  one.queue = header(number_);
  one.attribute = {sizeof(nlattr) + sizeof(nfqnl_msg_verdict_hdr), NFQA_VERDICT_HDR};
  one.verdict = {htonl(verdict), htonl(id)};
  auto append = [&](const void* from, std::size_t size) {
    verdicts_.insert(verdicts_.end(), static_cast<const char*>(from), static_cast<const char*>(from) + size);
  };
  if (changed) {
    const nlattr bytes{static_cast<std::uint16_t>(sizeof(nlattr) + changed->size), NFQA_PAYLOAD};
    one.head.nlmsg_len += (bytes.nla_len + 3U) & ~3U;
    append(&one, sizeof one);
    append(&bytes, sizeof bytes);
    append(changed->frame.get(), changed->size);
    verdicts_.resize((verdicts_.size() + 3) & ~std::size_t{3});
  } else {
    append(&one, sizeof one);
  }
  if (verdicts_.size() >= most_verdict_bytes) send_verdicts();
}

void PacketQueue::flush() {
  settle();
  send_verdicts();
}

void PacketQueue::send_verdicts() {
  if (verdicts_.empty()) return;
  const sockaddr_nl kernel{AF_NETLINK, 0, 0, 0};
  ::sendto(fd(), verdicts_.data(), verdicts_.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  verdicts_.clear();
}

// The namespace's queues as the kernel tells them, one a line; the file tells them anew from its beginning.
PacketQueue::State PacketQueue::state() const {
  if (!states_) return {};
  char text[16384];
  const auto got = ::pread(states_.get(), text, sizeof text - 1, 0);
  text[std::max<ssize_t>(got, 0)] = 0;
  for (const char* line = text; line && *line; line = std::strchr(line, '\n'), line += line ? 1 : 0) {
    unsigned number = 0, port = 0, mode = 0, range = 0;
    unsigned long long waiting = 0, dropped = 0, user_dropped = 0, sequence = 0;
    if (std::sscanf(line, "%u %u %llu %u %u %llu %llu %llu", &number, &port, &waiting, &mode, &range, &dropped, &user_dropped, &sequence) == 8 && number == number_)
      return {waiting, sequence};
  }
  return {};
}

std::uint64_t PacketQueue::waiting() { return state().waiting; }

std::uint64_t PacketQueue::passed(std::uint64_t matched) {
  const auto sequence = state().sequence;
  return untold_ + (matched > sequence ? matched - sequence : 0);
}

}  // namespace squall
