#include "injector/host/packets/packet_queue.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <fmt/format.h>

#include "injector/host/match/endpoint_set.hpp"
#include "injector/host/match/packet_headers.hpp"
#include "injector/host/netlink/netfilter_sockets.hpp"
#include "injector/system/close_later.hpp"
#include "injector/system/network_namespace.hpp"

namespace squall {

namespace {

// How old the stamp of a packet may be that came to us straight: as long as it may lie unread. Where no other
// queue can have held it, other work may have made us later than that.
constexpr std::int64_t longest_unread_ns = 1'000'000, oldest_stamp_ns = 200'000'000;
constexpr std::size_t batch = 64, most_verdict_bytes = 16'384;
constexpr std::size_t longest_packet = 0xffff - NLA_HDRLEN;  // of which a message tells
constexpr std::uint32_t link_header = 14, loopback = 1;
constexpr std::uint32_t for_length = 20, for_pieces = 48, for_ends = 64,
                        for_ports = 128;  // bytes of a packet that tell

struct Verdict {
  nlmsghdr head;
  nfgenmsg queue;
  nlattr attribute;
  nfqnl_msg_verdict_hdr verdict;
};
static_assert(sizeof(Verdict) == 32);

std::uint16_t type_of(std::uint16_t message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_QUEUE << 8 | message);
}

bool after(std::uint32_t id, std::uint32_t other) {
  return static_cast<std::int32_t>(id - other) > 0;
}

// How many there are in the thread's network namespace.
std::shared_ptr<std::atomic<int>> queues_here() {
  static std::mutex mutex;
  static std::map<std::uint64_t, std::weak_ptr<std::atomic<int>>> known;
  const std::lock_guard lock{mutex};
  auto& here = known[current_network_namespace()];
  auto out = here.lock();
  if (!out) here = out = std::make_shared<std::atomic<int>>(0);
  return out;
}

nfgenmsg header(std::uint16_t number) {
  return {AF_UNSPEC, NFNETLINK_V0, htons(number)};
}

}  // namespace

Way way_of(const QueueWays& ways, std::uint8_t hook, std::uint32_t device, std::span<const char> packet) {
  if (ways.all) return *ways.all;
  if (device != loopback || hook == NF_INET_LOCAL_IN) return Way::in;
  if (ways.out_on_loopback.empty()) return Way::out;
  const auto ports = ports_of(packet);
  auto has = [&](std::uint16_t port, const PortCondition& condition) {
    return std::find(condition.ports.begin(), condition.ports.end(), port) != condition.ports.end();
  };
  const bool out =
      ports && std::all_of(ways.out_on_loopback.begin(), ways.out_on_loopback.end(), [&](auto& condition) {
        return (condition.side != Side::destination && has(ports->source, condition)) ||
               (condition.side != Side::source && has(ports->destination, condition));
      });
  return out ? Way::out : Way::in;
}

PacketQueue::PacketQueue(std::uint16_t start, std::uint32_t longest, std::uint32_t mark, Take take,
                         QueueWays ways, bool pieces)
    : socket_(take_netfilter_socket()),
      number_(start),
      mark_(mark),
      take_(take),
      ways_(std::move(ways)),
      pieces_(pieces),
      buffer_size_(512 + (take == Take::bytes ? longest_packet + 1 : 0)) {
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
  longest_ = longest;
  configure(longest);
  beside_ = queues_here();
  ++*beside_;
  states_ = Fd{::open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC)};
}

void PacketQueue::note_ends(std::shared_ptr<EndpointSet> ends) {
  ends_ = std::move(ends);
  configure(longest_);
}

void PacketQueue::begin() {
  // While a socket asks for time stamps the kernel stamps every packet on its arrival: the delay counts from
  // there, not from when we read of it.
  stamps_ = Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const int yes = 1;
  if (stamps_) ::setsockopt(stamps_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
  if (take_ == Take::bytes) sender_ = std::make_unique<RawSender>(mark_);
}

PacketQueue::~PacketQueue() {
  --*beside_;
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
  parameters.copy_mode =
      take_ == Take::notice && !ports && !pieces_ && !ends_ ? NFQNL_COPY_META : NFQNL_COPY_PACKET;
  // Some bytes at least, or the length is not told.
  parameters.copy_range = htonl(take_ == Take::bytes ? longest_packet
                                : ports              ? for_ports
                                : ends_              ? for_ends
                                : pieces_            ? for_pieces
                                                     : for_length);
  messages.bytes(NFQA_CFG_PARAMS, &parameters, sizeof parameters);
  messages.be32(NFQA_CFG_FLAGS, (take_ == Take::notice ? NFQA_CFG_F_GSO : 0) | NFQA_CFG_F_FAIL_OPEN);
  messages.be32(NFQA_CFG_MASK, NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN);
  messages.be32(NFQA_CFG_QUEUE_MAXLEN, longest);
  const auto answer = socket_.exchange(messages);
  if (!answer)
    throw std::runtime_error(fmt::format("configure the packet queue {}: {}", number_, answer.text()));
  const int size = 32 << 20, yes = 1;
  ::setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  ::setsockopt(fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &yes, sizeof yes);
}

// To read and copy a message is the most of what a packet costs us. Their numbers are enough to let packets
// go, and follow on each other: the kernel keeps the packet and throws our message away where our own filter
// asks it to (netlink_unicast in net/netlink/af_netlink.c; socket(7), SO_ATTACH_FILTER).
void PacketQueue::sample_one_in(unsigned packets) {
  if (packets == one_in_ || take_ == Take::bytes || !ways_.all || !stamps_) return;
  if (packets > 1) {
    if (state().sequence == 0) return;  // or we would not know of the last ones
    const auto others = static_cast<std::uint32_t>(packets - 1);
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(type_of(NFQNL_MSG_PACKET)), 0, 5),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, sizeof(nlmsghdr) + sizeof(nfgenmsg) + offsetof(nlattr, nla_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NFQA_PACKET_HDR), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(nlmsghdr) + sizeof(nfgenmsg) + sizeof(nlattr) +
                                               offsetof(nfqnl_msg_packet_hdr, packet_id)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, others, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, ~0U),
    };
    const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
    if (::setsockopt(fd(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0) one_in_ = packets;
    return;
  }
  const int none = 0;
  ::setsockopt(fd(), SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
  one_in_ = 1;
  // A packet has its number before the filter sees its message.
  unsampled_until_ = static_cast<std::uint32_t>(state().sequence);
  rest_ = true;
}

bool PacketQueue::take(const Keep& keep) {
  const auto begin = monotonic_ns();
  const int got = ::recvmmsg(fd(), messages_.data(), batch, MSG_DONTWAIT, nullptr);
  // In this order: where other work comes between, a stamp is taken for later than it is, and no packet goes
  // early.
  const auto wall = wall_ns();
  now_ = monotonic_ns();
  wall_ahead_ = wall - now_;
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(got, 0)); ++i) {
    // A packet's bytes come last and are not padded, but NLMSG_NEXT takes a multiple of four away.
    auto left = NLMSG_ALIGN(messages_[i].msg_len);
    for (auto* head = reinterpret_cast<nlmsghdr*>(&buffers_[i * buffer_size_]); NLMSG_OK(head, left);
         head = NLMSG_NEXT(head, left))
      read_message(head, keep);
  }
  const bool more = got == static_cast<int>(batch);
  if (!more) empty_at_ = begin;
  if (!more && (rest_ || (got <= 0 && one_in_ > 1))) interpolate_rest(keep);
  return more;
}

void PacketQueue::read_message(const nlmsghdr* head, const Keep& keep) {
  if (head->nlmsg_type == NLMSG_ERROR) {
    // The packet of a verdict is gone (ENOENT): whoever unregisters a netfilter hook makes the kernel drop
    // all that waits in the queues of the namespace. A verdict about many fails where none of them is left.
    if (static_cast<const nlmsgerr*>(NLMSG_DATA(const_cast<nlmsghdr*>(head)))->error)
      lost_ += head->nlmsg_seq;
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
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_IFINDEX_INDEV) {
      std::memcpy(&device, value, sizeof device);
      device = ntohl(device);
    } else if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_TIMESTAMP) {
      nfqnl_msg_packet_timestamp stamp;
      std::memcpy(&stamp, value, sizeof stamp);
      const auto at_ns =
          static_cast<std::int64_t>(be64toh(stamp.sec) * 1'000'000'000 + be64toh(stamp.usec) * 1'000) -
          wall_ahead_;
      packet.entered = entered(at_ns);
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
  if (ends_) ends_->add_ends_of(told);
  if (const auto piece = pieces_ ? piece_of(told) : std::nullopt)
    packet.piece = piece->packet, packet.later_piece = !piece->first;
  hear(std::move(packet), keep);
}

// When a packet that the kernel stamped came to us.
std::int64_t PacketQueue::entered(std::int64_t stamp) const {
  // A clock that was set meanwhile, or a stamp of another host's making, is not believed.
  const auto believed = *beside_ > 1 ? longest_unread_ns : oldest_stamp_ns;
  if (stamp <= now_ && stamp > now_ - believed) return stamp;
  // It has waited in another queue of ours, and our delay comes on top. Where one in many is looked at, it
  // came some time since the last look, else it was looked at when it came.
  return one_in_ > 1 ? empty_at_ + (now_ - empty_at_) / 2 : now_;
}

void PacketQueue::hear(HeldPacket&& packet, const Keep& keep) {
  if (!after(packet.id, last_id_)) return;  // its message was still under way when it was taken to have come
  const auto before = packet.id - last_id_ - 1;
  const auto unsampled = one_in_ > 1                         ? before
                         : after(unsampled_until_, last_id_) ? std::min(before, unsampled_until_ - last_id_)
                                                             : 0;
  const auto step = (packet.entered - last_entered_) / static_cast<std::int64_t>(before + 1);
  if (unsampled > 0) interpolate(last_id_ + unsampled, step, keep);
  // The kernel could not tell us of these, and let them pass.
  for (; last_id_ + 1 != packet.id; ++untold_)
    number(last_id_ + 1, Fate::judged);
  pace_ns_ = step;
  last_entered_ = packet.entered;
  number(packet.id, Fate::waits);
  keep(std::move(packet));
}

void PacketQueue::interpolate(std::uint32_t last, std::int64_t step, const Keep& keep) {
  for (auto entered = last_entered_; last_id_ != last;) {
    HeldPacket packet;
    packet.source = this;
    packet.id = last_id_ + 1;
    packet.way = *ways_.all;
    packet.entered = entered = std::min(entered + step, now_);
    number(packet.id, Fate::waits);
    ++interpolated_;
    keep(std::move(packet));
  }
}

// Those after the last of which we heard: they followed it as closely as it followed the one before.
void PacketQueue::interpolate_rest(const Keep& keep) {
  if (one_in_ > 1) unsampled_until_ = static_cast<std::uint32_t>(state().sequence);
  rest_ = false;
  if (after(unsampled_until_, last_id_))
    interpolate(unsampled_until_, std::max<std::int64_t>(pace_ns_, 0), keep);
}

void PacketQueue::number(std::uint32_t id, Fate fate) {
  if (fates_.empty()) first_id_ = id;
  if (fates_.full()) fates_.set_capacity(2 * fates_.capacity());
  fates_.push_back(fate);
  last_id_ = id;
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
      if (after(first_id_, id)) continue;
      fates_[id - first_id_] = Fate::judged;
      put(NFQNL_MSG_VERDICT, id, NF_ACCEPT, 1);
    }
  accepted_.clear();
}

// The kernel's answer, where it refuses, has the number of the packets as its sequence.
void PacketQueue::put(std::uint16_t message, std::uint32_t id, std::uint32_t verdict, std::uint32_t packets,
                      const HeldPacket* changed) {
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

bool PacketQueue::flush() {
  settle();
  send_verdicts();
  return true;
}

void PacketQueue::send_verdicts() {
  if (verdicts_.empty()) return;
  const sockaddr_nl kernel{AF_NETLINK, 0, 0, 0};
  ::sendto(fd(), verdicts_.data(), verdicts_.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
           sizeof kernel);
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
    if (std::sscanf(line, "%u %u %llu %u %u %llu %llu %llu", &number, &port, &waiting, &mode, &range,
                    &dropped, &user_dropped, &sequence) == 8 &&
        number == number_)
      return {waiting, sequence};
  }
  return {};
}

std::uint64_t PacketQueue::waiting() {
  return state().waiting;
}

std::uint64_t PacketQueue::passed(std::uint64_t matched) {
  const auto sequence = state().sequence;
  return untold_ + (matched > sequence ? matched - sequence : 0);
}

}  // namespace squall
