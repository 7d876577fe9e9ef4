// One direction of a proxied connection. Bytes are spliced from socket to socket in the kernel as long as no
// toxic hits the connection; else they pass the toxics' stages.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <boost/container/deque.hpp>

#include "injector/proxy/engine.hpp"
#include "injector/proxy/stage.hpp"

namespace squall::proxy {

// What a proxy's connections did, as they do it.
struct LinkCounters {
  std::uint64_t received_bytes = 0, sent_bytes = 0;
  std::uint64_t pieces = 0;       // sent by way of stages
  double held_sum_ms = 0;         // of them, between their arrival and their departure
  std::vector<float> held_ms;     // of the latest of them, in a ring
  std::vector<float> rolled_ms;   // of the same ones, the delay that was chosen,
  std::vector<float> late_ms;     // and how long after their turn in the order they left
  std::uint64_t piece_bytes = 0;  // in them
  std::uint64_t ends = 0;         // sent by way of stages
  double end_held_sum_ms = 0;
  double waiting_s =
      0;  // that connections had something waiting in their stages, each up to when it sent last,
  std::uint64_t waiting_bytes = 0;  // what was sent meanwhile,
  double any_waiting_s = 0;         // and how long that was true of any of them
  std::uint32_t waiting_now = 0;
  Clock::time_point any_waiting_since;  // up to where that is counted
  std::uint64_t discarded_bytes = 0;    // that a stage dropped
  std::uint64_t cuts = 0;               // that the slicer made
};

class Link;

// Whose direction it is.
class LinkOwner {
 public:
  virtual ~LinkOwner() = default;
  virtual std::shared_ptr<void> keep_alive() = 0;  // as long as the link waits for something
  virtual void over(Link&) = 0;                    // everything was sent, the end too
  virtual void end(bool reset) = 0;                // of both directions, as a stage wants it
  virtual void farewell() = 0;                     // the same, when the client may still be sending
  virtual void broken(Socket& gone) = 0;           // that side is
};

class Link {
 public:
  Link(LinkOwner& owner, Socket& from, Socket& to, Engine& engine, LinkCounters& counters);
  ~Link();
  Link(const Link&) = delete;

  // A stage that stays, before all toxics; before start.
  void put_first(std::unique_ptr<Stage>);
  // What has come before the other side is connected, if anything has; no more than a small message.
  bool read_early();
  // Both sockets are connected and watched.
  void start();
  // As far as there is something to read and room for it; called when there may be.
  void read();
  // There may be room to write.
  void writable();
  // A stage has something to give that did not come by its own link.
  void wake();
  // The toxics that hit this connection; those that were there before keep what they hold and their place,
  // new ones follow them. May be called before start, and at any time.
  void set_toxics(const std::vector<Toxic>&, std::uint64_t seed);
  bool is_over() const { return over_; }
  // The sender has said that nothing more comes.
  bool has_ended() const { return ended_; }
  // Anything has come, but for that.
  bool has_carried() const { return carried_; }
  // Nothing more happens: the sockets are closed.
  void stop();

 private:
  bool spliced() const { return stages_.empty() && out_.empty(); }
  bool has_room() const;
  // How much was read.
  std::size_t read_plain();
  void pass_on(const char* data, std::size_t);
  std::size_t read_for_stages();
  std::size_t splice();
  void count_received(std::size_t);
  void failed_to_read();
  bool empty_pipe();
  void arrived(Piece);
  void pump();
  void tell_waiting(Clock::time_point now);
  void count_waiting(std::size_t sent, Clock::time_point now);
  void begins_to_wait(Clock::time_point now);
  void waits_no_more();
  void take(Stage&, Piece, Clock::time_point now);
  void hand_on(std::size_t stage, Clock::time_point now, bool all = false);
  void set_timer();
  void write_out();
  bool send_front();
  void measure(const Piece&);
  void wait_until_writable();

  LinkOwner& owner_;
  Socket& from_;
  Socket& to_;
  Engine& engine_;
  LinkCounters& counters_;
  std::optional<boost::asio::steady_timer> timer_;
  Clock::time_point timer_at_ = Clock::time_point::max();
  Clock::time_point waiting_since_;  // zero: nothing waits
  double waited_s_ = 0;              // of that, since it sent last
  std::vector<std::unique_ptr<Stage>> stages_;
  boost::container::deque<Piece> out_;  // takes no memory while it is empty
  std::size_t out_bytes_ = 0;
  Pipe pipe_;
  std::optional<Piece> early_;
  Clock::time_point read_all_;  // when nothing was left to read
  bool started_ = false, reading_ = false, writing_ = false, carried_ = false, ended_ = false, over_ = false,
       stopped_ = false, pumping_ = false;
};

}  // namespace squall::proxy
