// What an engine does to a packet besides delaying it.
#include "injector/host/packets/packet_engine.hpp"

#include <cstring>

#include "injector/host/match/packet_headers.hpp"

namespace squall {

void PacketEngine::Lane::count(const Fate& fate) {
  ++counts.losses.came;
  counts.losses.lost += fate.lost;
  counts.losses.bursts += fate.lost && !lost_before;
  lost_before = fate.lost;
  counts.duplicated += fate.duplicated;
  counts.corrupted += fate.corrupted && !fate.lost;
  counts.at_once += fate.at_once && !fate.lost;
}

// Where a bit of a packet may be turned over: behind the link header, and behind the network's where nobody
// looks at its checksum any more, so that a packet with another address would be answered or forwarded to a
// stranger.
std::size_t PacketEngine::damage_begins(const HeldPacket& packet) {
  if (!packet.source->header_is_checked()) return packet.content;
  const auto header =
      network_header_size({packet.frame.get() + packet.content, packet.size - packet.content});
  return header ? packet.content + header : packet.size;
}

void PacketEngine::corrupt(HeldPacket& packet) {
  const auto begin = damage_begins(packet);
  const auto bit = lane_of(packet).fates.below(std::uint64_t{packet.size - begin} * 8);
  packet.frame[begin + bit / 8] ^= static_cast<char>(1 << bit % 8);
  packet.changed = true;
}

PacketEditor::Verdict PacketEngine::edit(HeldPacket& packet, double level) {
  edited_.clear();
  const auto verdict = shape_.editor->look(
      {packet.frame.get() + packet.content, packet.size - packet.content}, level, edited_);
  if (verdict != PacketEditor::Verdict::replace) return verdict;
  auto frame = std::make_unique_for_overwrite<char[]>(packet.content + edited_.size());
  std::memcpy(frame.get(), packet.frame.get(), packet.content);
  std::memcpy(frame.get() + packet.content, edited_.data(), edited_.size());
  packet.frame = std::move(frame);
  packet.size = packet.capacity = static_cast<std::uint32_t>(packet.content + edited_.size());
  packet.changed = true;
  return verdict;
}

Fate PacketEngine::draw(HeldPacket& packet, double level) {
  if (!shape_.each_packet() || releasing_) return {};
  auto& lane = lane_of(packet);
  auto fate = lane.fates.next(level);
  fate.corrupted = fate.corrupted && damage_begins(packet) < packet.size;
  if (packet.full_level) lane.count(fate);
  return fate;
}

// Drawn for each packet, and for the first of its pieces that comes where it comes in some.
Fate PacketEngine::fate_of(HeldPacket& packet, double level) {
  if (!pieces_follow_) return draw(packet, level);
  if (!packet.piece && packet.size > packet.content)
    if (const auto piece = piece_of({packet.frame.get() + packet.content, packet.size - packet.content}))
      packet.piece = piece->packet, packet.later_piece = !piece->first;
  if (!packet.piece) return draw(packet, level);
  last_piece_ = packet.entered;
  const auto* decided = packet.later_piece ? pieces_.find(packet.piece) : nullptr;
  const bool known = decided;
  if (!known) {
    const auto fate = draw(packet, level);
    decided = &pieces_.add(packet.piece, {.fate = fate, .delay_ns = lane_of(packet).delays.next_ns()});
  }
  packet.drawn_ns = decided->delay_ns;
  auto fate = decided->fate;
  fate.corrupted = fate.corrupted && !known;
  return fate;
}

void PacketEngine::keep(HeldPacket&& packet) {
  const double level = level_;
  ++came_;
  packet.full_level = level >= 1;
  // A packet whose bytes did not all come can neither be repeated nor changed.
  const bool whole = !shape_.content() || packet.size > packet.content;
  auto fate = whole ? fate_of(packet, level) : Fate{};
  if (shape_.editor && !releasing_ && whole) {
    const auto verdict = edit(packet, level);
    if (verdict == PacketEditor::Verdict::drop) fate.lost = true;
    fate.at_once = verdict != PacketEditor::Verdict::delay;
  }
  if (fate.lost) return packet.source->discard(packet);
  if (fate.duplicated) {
    HeldPacket second;
    second.entered = packet.entered;
    second.size = second.capacity = packet.size;
    second.content = packet.content;
    second.wire_bytes = packet.wire_bytes;
    second.source = packet.source;
    second.way = packet.way;
    second.full_level = packet.full_level;
    second.piece = packet.piece;
    second.drawn_ns = packet.drawn_ns;
    second.later_piece = packet.later_piece;
    second.copy = true;
    second.frame = std::make_unique_for_overwrite<char[]>(packet.size);
    std::memcpy(second.frame.get(), packet.frame.get(), packet.size);
    hold(std::move(second), fate.at_once, level);
  }
  if (fate.corrupted) corrupt(packet);
  hold(std::move(packet), fate.at_once, level);
}

}  // namespace squall
