// The playlist service: Redis in front, PostgreSQL behind, every change durable on a volume before it is
// confirmed.
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "tests/stack/cache.hpp"
#include "tests/stack/catalogue.hpp"
#include "tests/stack/metrics.hpp"
#include "tests/stack/volume.hpp"

namespace squall::stack {

struct ServiceOptions {
  std::string listen = "127.0.0.1:19020";
  std::string redis = "127.0.0.1:19030";
  std::string postgres;
  std::string volume;
};

struct Reply {
  unsigned status = 200;
  std::string body;
  std::string type = "application/json";
};

// GET /healthz, /metrics, /playlists/N; PUT or POST /playlists/N; POST /playlists/N/plays, /plays (a batch of
// events). One thread serves; what blocks is on threads of its own.
class Service {
 public:
  Service(boost::asio::io_context&, const ServiceOptions&);
  boost::asio::awaitable<void> serve();

 private:
  boost::asio::awaitable<void> converse(boost::asio::ip::tcp::socket socket);
  boost::asio::awaitable<Reply> answer(std::string method, std::string target, std::string body);
  boost::asio::awaitable<Reply> read(unsigned id);
  boost::asio::awaitable<Reply> save(unsigned id, std::string body);
  boost::asio::awaitable<Reply> play(unsigned id);
  boost::asio::awaitable<Reply> ingest(std::string events);
  boost::asio::awaitable<bool> make_durable(std::string record);
  boost::asio::awaitable<Catalogue::Answer> look_up(unsigned id);
  Catalogue::Done note_failure();
  std::string metrics() const;

  boost::asio::io_context& io_;
  boost::asio::ip::tcp::endpoint listen_;
  Counter requests_{"playlist_http_requests_total", "requests answered, by route and status"};
  Counter cache_results_{"playlist_cache_lookups_total", "lookups in Redis, by result"};
  Counter late_{"playlist_catalogue_failures_total", "statements that PostgreSQL did not carry out"};
  Histogram reads_{"playlist_http_request_seconds", "time to answer", "route=\"read\""};
  Histogram writes_{"playlist_http_request_seconds", "time to answer", "route=\"write\""};
  Histogram flush_{"playlist_volume_flush_seconds", "time to write and fdatasync what was waiting"};
  Histogram cache_time_{"playlist_cache_seconds", "time of a question to Redis, deadlines included"};
  Histogram catalogue_time_{"playlist_catalogue_seconds", "time of a statement in PostgreSQL"};
  Cache cache_;
  Volume volume_;
  Catalogue catalogue_;
};

// A number of clients' worth of reads, plays and event batches at a steady rate, for ever.
struct LoadOptions {
  std::string to = "127.0.0.1:19000";
  unsigned reads_per_s = 40;
  unsigned plays_per_s = 5;
  unsigned batches_per_s = 24;
  std::size_t batch_bytes = 64 << 10;
};
void start_load(boost::asio::io_context&, const LoadOptions&);

boost::asio::ip::tcp::endpoint endpoint_of(const std::string& address_and_port);

}  // namespace squall::stack
