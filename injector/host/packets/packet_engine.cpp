#include "injector/host/packets/packet_engine.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "injector/host/packets/engine_watch.hpp"

namespace squall {

namespace {

constexpr std::int64_t retry_ns = 250'000;
constexpr std::size_t sent_at_once = 32;
constexpr int rounds_between_deliveries = 16;
// A timer for each packet would cost more than the packet. Where more than `many` come in a `stretch`, those
// due within so long of each other go together, half of them by the middle of the first and the last: none
// goes earlier than so long before its time. So as long as that is small beside the delay.
constexpr std::int64_t together_ns = 400'000, stretch_ns = 1'000'000, many = 20, delay_in_groups = 2;
// Where that many come for a while, it is enough to look at one in such a time: the others came between.
constexpr std::int64_t steady_ns = 20'000'000, reconsider_ns = 1'000'000'000;
constexpr double unsampled_ns = 200'000;
constexpr std::uint64_t most_unsampled = 16;
static_assert(retry_ns > together_ns / 2);  // or what could not go would be tried again in the same group

// Of each direction its own; the first one's is the fault's.
std::uint64_t seed_of(Way way, std::uint64_t seed) {
  return way == Way::out ? seed : seed ^ 0xd1b54a32d192ed03;
}

std::uint64_t memory_of(const HeldPacket& packet) {
  return sizeof packet + packet.capacity;
}

}  // namespace

PacketCounts& PacketCounts::operator+=(const PacketCounts& more) {
  losses.came += more.losses.came;
  losses.lost += more.losses.lost;
  losses.bursts += more.losses.bursts;
  duplicated += more.duplicated;
  corrupted += more.corrupted;
  at_once += more.at_once;
  timed += more.timed;
  queue_full += more.queue_full;
  busy_bytes += more.busy_bytes;
  busy_ns += more.busy_ns;
  return *this;
}

PacketEngine::PacketEngine(const Impairment& shape, std::uint64_t seed)
    : shape_(shape),
      typical_delay_ns_(prescribed_median_ns(shape.delay)),
      lanes_{Lane{shape, seed_of(Way::out, seed)}, Lane{shape, seed_of(Way::in, seed)}},
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!epoll_ || !timer_ || !wake_)
    throw std::runtime_error(std::string("make a timer: ") + std::strerror(errno));
}

PacketEngine::Lane::Lane(const Impairment& shape, std::uint64_t seed)
    : delays(shape.delay, seed), fates(shape, seed) {
  if (shape.rate) rate.emplace(*shape.rate);
}

PacketEngine::~PacketEngine() {
  release();
  close();
}

void PacketEngine::close() {
  for (auto& source : sources_)
    source->leave();
  sources_.clear();
}

void PacketEngine::add(std::unique_ptr<PacketSource> source) {
  sources_.push_back(std::move(source));
}

void PacketEngine::start() {
  auto watch = [&](int fd) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(timer_.get());
  watch(wake_.get());
  for (auto& source : sources_)
    watch(source->fd());
  thread_ = std::thread{[this] { run(); }};
}

void PacketEngine::watch(const std::string& name) {
  held_count_ = std::make_unique<HeldCount>(name);
  watched_ = held_count_.get();
  wake();
  EngineWatch::add(this);
}

void PacketEngine::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] auto ignored = ::write(wake_.get(), &one, sizeof one);
}

void PacketEngine::begin_release() {
  if (!thread_.joinable() || releasing_) return;
  EngineWatch::remove(this);
  releasing_ = true;
  wake();
}

void PacketEngine::release() {
  if (!thread_.joinable()) return;
  begin_release();
  thread_.join();
  watched_ = nullptr;
  held_count_.reset();
}

EngineMeasure PacketEngine::measure() const {
  std::lock_guard lock{mutex_};
  auto out = measure_;
  for (auto& source : sources_) {
    out.lost += source->lost();
    out.refused += source->found_full();
    out.interpolated += source->interpolated();
  }
  return out;
}

bool PacketEngine::lost_a_source() const {
  return std::any_of(sources_.begin(), sources_.end(), [](auto& source) { return source->gone(); });
}

void PacketEngine::run() {
  ::prctl(PR_SET_NAME, "squall-packets");
  ::prctl(PR_SET_TIMERSLACK, 1);
  // Packets must not wait for a busy processor on top of their delay; a flood of them must not starve the
  // host either, as a real-time policy could. This thread alone (setpriority(2), NOTES).
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -20);
  for (auto& source : sources_)
    source->begin();
  while (!releasing_) {
    ++looks_;
    const auto now = monotonic_ns();
    const bool grouped = many_come(now) && !making_way_;
    sample_one_in(enough(now));
    const auto group = grouped ? wait_for_group() : wait();
    const auto awake = monotonic_ns();
    unread_ = grouped;
    for (int round = 0; round < rounds_between_deliveries && take();)
      ++round;
    const auto begin = monotonic_ns();
    making_way_ ? release_due(never) : deliver(std::max(begin, group));
    if (group) expect_lead(begin - awake + (monotonic_ns() - begin) / 2);
  }
  unread_ = false;
  deliver_all();
}

bool PacketEngine::many_come(std::int64_t now) {
  const auto passed = now - counting_since_;
  if (passed < stretch_ns) return many_;
  many_ =
      static_cast<std::int64_t>(came_ - counted_) * stretch_ns > many * passed &&
      static_cast<double>(typical_delay_ns_) * level_ >= static_cast<double>(delay_in_groups * together_ns);
  counting_since_ = now;
  counted_ = came_;
  return many_;
}

unsigned PacketEngine::enough(std::int64_t now) {
  if (!many_ || shape_.rate || making_way_ || releasing_) return 1;
  if (last_piece_ && now - last_piece_ < reconsider_ns) return 1;
  const auto passed = now - averaging_since_;
  if (passed < (sampled_one_in_ == 1 ? steady_ns : reconsider_ns)) return sampled_one_in_;
  const auto in_a_while = static_cast<std::uint64_t>(static_cast<double>(came_ - averaged_) * unsampled_ns /
                                                     static_cast<double>(passed));
  averaging_since_ = now, averaged_ = came_;
  return static_cast<unsigned>(std::bit_floor(std::clamp<std::uint64_t>(in_a_while, 1, most_unsampled)));
}

void PacketEngine::sample_one_in(unsigned packets) {
  if (packets == sampled_one_in_) return;
  sampled_one_in_ = packets;
  for (auto& source : sources_)
    source->sample_one_in(packets);
  for (int round = 0; packets == 1 && round < rounds_between_deliveries && take();)
    ++round;
}

// How long packets may lie unread: where they tell when they came, until the first of them can be in a group.
std::int64_t PacketEngine::longest_unread() const {
  if (!keeps_order() ||
      !std::all_of(sources_.begin(), sources_.end(), [](auto& source) { return source->stamps(); }))
    return together_ns;
  const auto soonest = static_cast<std::int64_t>(static_cast<double>(shape_.delay.delay_ns) * level_);
  return std::clamp(soonest - together_ns, together_ns, stretch_ns);
}

std::int64_t PacketEngine::wait_for_group() {
  std::int64_t until = std::min(monotonic_ns() + longest_unread(), retry_at_), group = 0;
  if (const auto first = next_due(); first != never) {
    const auto last =
        std::max(held_.last_due_by(first + together_ns), through_.last_due_by(first + together_ns));
    if (const auto middle = first + (last - first) / 2 - lead_ns_; middle <= until)
      until = middle, group = last;
  }
  const timespec moment{until / 1'000'000'000, until % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, nullptr);
  return group;
}

// It takes a while to take what came, and to send a group, of which half should be gone in its middle.
void PacketEngine::expect_lead(std::int64_t taken) {
  lead_ns_ += (std::min(taken, together_ns / 2) - lead_ns_) / 8;
}

std::int64_t PacketEngine::wait() {
  const auto next = std::min(next_due(), retry_at_), due = next == never ? 0 : next;
  if (due != armed_) {
    itimerspec when{};
    when.it_value = {due / 1'000'000'000, due % 1'000'000'000};
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
    armed_ = due;
  }
  epoll_event events[4];
  const int ready = ::epoll_wait(epoll_.get(), events, 4, watched_ ? look_ms : -1);
  for (int i = 0; i < ready; ++i) {
    const int fd = events[i].data.fd;
    if (fd != timer_.get() && fd != wake_.get()) continue;
    std::uint64_t times = 0;
    [[maybe_unused]] auto ignored = ::read(fd, &times, sizeof times);
    if (fd == timer_.get()) armed_ = 0;
  }
  return 0;
}

bool PacketEngine::take() {
  bool more = false;
  for (auto& source : sources_) {
    more |= unread_ && !source->stamps() ? take_unread(*source) : source->take(keep_);
    if (source->gone()) look_away(*source);
  }
  last_taken_ = monotonic_ns();
  return more;
}

// They came some time since the last look, and say no more of it: evenly, then.
bool PacketEngine::take_unread(PacketSource& source) {
  const bool more = source.take(gather_);
  const auto step = (monotonic_ns() - last_taken_) / static_cast<std::int64_t>(gathered_.size() + 1);
  auto entered = last_taken_;
  for (auto& packet : gathered_) {
    packet.entered = entered += step;
    keep(std::move(packet));
  }
  gathered_.clear();
  return more;
}

// It would be readable for ever.
void PacketEngine::look_away(const PacketSource& source) {
  if (not_looked_at_.insert(&source).second) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source.fd(), nullptr);
}

void PacketEngine::hold(HeldPacket&& packet, bool at_once, double level) {
  auto& lane = lane_of(packet);
  packet.order = ++order_;
  if (held_bytes_ + memory_of(packet) > most_held_bytes) return overflow(std::move(packet));
  packet.due =
      packet.entered +
      (at_once ? 0
               : static_cast<std::int64_t>(
                     static_cast<double>(packet.drawn_ns >= 0 ? packet.drawn_ns : lane.delays.next_ns()) *
                     level));
  if (at_once) packet.full_level = false;  // its time tells nothing of the delay
  if (keeps_order()) packet.due = lane.last_due = std::max(packet.due, lane.last_due);
  remember(packet);
  held_.add(std::move(packet));
}

// It passes now, before those that wait: were it to keep their order, it would wait as well.
void PacketEngine::overflow(HeldPacket&& packet) {
  std::lock_guard lock{mutex_};
  ++measure_.overflowed;
  packet.full_level = false;
  packet.due = packet.entered;
  remember(packet);
  if (shape_.rate && !releasing_ && !pass_limit(packet)) return;
  if (packet.due > monotonic_ns()) return through_.add(std::move(packet));
  if (let_go(packet)) return;
  ++measure_.lost;
  forget(packet);
  packet.source->discard(packet);
}

void PacketEngine::remember(const HeldPacket& packet) {
  held_bytes_ += memory_of(packet);
  ++holding_[static_cast<std::size_t>(packet.way)];
}

// False where it cannot go now.
bool PacketEngine::let_go(HeldPacket& packet) {
  if (!packet.source->let_go(packet)) return false;
  forget(packet);
  leaving_.push_back(
      {packet.way, packet.full_level, packet.due, packet.entered, packet.queued, packet.wire_bytes});
  if (leaving_.size() >= sent_at_once) send();
  return true;
}

// To look at the clock, and to ask the kernel, costs as much for one as for several.
void PacketEngine::send() {
  const auto begin = monotonic_ns();
  bool all = true;
  for (auto& source : sources_)
    all = source->flush() && all;
  const auto end = monotonic_ns(), now = begin + (end - begin) / 2;
  retry_at_ = all ? never : end + retry_ns;
  for (auto& packet : leaving_) {
    const auto departure = std::max(now, packet.due);
    auto& lane = lanes_[static_cast<std::size_t>(packet.way)];
    auto& measured = measure_.of(packet.way);
    ++measured.packets;
    if (packet.full_level) {
      measured.at_full_level.add(now - packet.entered - packet.queued);
      // Sent after another for which it had waited: the pace is that of the limit, not of the sender.
      if (packet.queued > 0 && packet.due - packet.queued <= lane.last_departure) {
        lane.counts.busy_bytes += packet.wire_bytes;
        lane.counts.busy_ns += departure - lane.last_departure;
      }
    }
    lane.last_departure = departure;
  }
  leaving_.clear();
}

void PacketEngine::forget(const HeldPacket& packet) {
  held_bytes_ -= memory_of(packet);
  --holding_[static_cast<std::size_t>(packet.way)];
}

std::int64_t PacketEngine::next_due() const {
  return std::min(held_.empty() ? never : held_.next_due(), through_.empty() ? never : through_.next_due());
}

// The narrow part of the way lies behind its delay: packets come to it in the order in which they get there,
// as to a tbf behind netem. False where its queue is full and the packet is lost.
bool PacketEngine::pass_limit(HeldPacket& packet) {
  auto& lane = lane_of(packet);
  auto* const decided = packet.piece ? pieces_.find(packet.piece) : nullptr;
  const bool refused = decided && packet.later_piece && decided->queue_full;
  const auto passed =
      refused ? std::nullopt
              : lane.rate->pass(packet.due, packet.wire_bytes, level_, decided && packet.later_piece);
  if (!passed) {
    if (decided) decided->queue_full = true;
    lane.counts.queue_full += packet.full_level;
    forget(packet);
    packet.source->discard(packet);
    return false;
  }
  packet.queued = *passed - packet.due;
  packet.due = *passed;
  return true;
}

void PacketEngine::deliver_next(std::int64_t up_to) {
  const bool was_held = through_.empty() || (!held_.empty() && held_.next_due() < through_.next_due());
  auto packet = was_held ? held_.take_next() : through_.take_next();
  if (was_held && shape_.rate) {
    if (!pass_limit(packet)) return;
    if (packet.due > up_to) return through_.add(std::move(packet));
  }
  if (let_go(packet)) return;
  packet.due = monotonic_ns() + retry_ns;
  through_.add(std::move(packet));
}

void PacketEngine::deliver(std::int64_t up_to) {
  std::lock_guard lock{mutex_};
  while (next_due() <= up_to)
    deliver_next(up_to);
  send();
  publish();
}

void PacketEngine::publish() {
  if (auto* count = watched_.load()) count->set(held_.size() + through_.size());
  for (std::size_t way = 0; way < lanes_.size(); ++way) {
    measure_.ways[way].counts = lanes_[way].counts;
    measure_.ways[way].holding = holding_[way];
  }
}

}  // namespace squall
