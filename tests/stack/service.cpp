#include "tests/stack/service.hpp"

#include <charconv>

#include <fmt/format.h>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>

namespace squall::stack {
namespace {

namespace asio = boost::asio;

constexpr auto cache_deadline = std::chrono::milliseconds{500};
constexpr auto cache_lives = std::chrono::seconds{20};
constexpr std::string_view prefix = "/playlists/";

// "/playlists/17/plays" → 17, "/plays"
struct PlaylistPath {
  unsigned id = 0;
  std::string_view rest;
};

std::optional<PlaylistPath> playlist_path(std::string_view target) {
  if (!target.starts_with(prefix)) return std::nullopt;
  target.remove_prefix(prefix.size());
  PlaylistPath path;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), path.id);
  if (error != std::errc{}) return std::nullopt;
  path.rest = target.substr(static_cast<std::size_t>(end - target.data()));
  return path;
}

std::string key_of(unsigned id) {
  return fmt::format("playlist:{}", id);
}

// Awaits a callback that comes from another thread, once.
template <typename Result, typename Start>
asio::awaitable<Result> from_thread(asio::io_context& io, Start start) {
  return asio::async_initiate<const asio::use_awaitable_t<>, void(Result)>(
      [&io, start = std::move(start)](auto handler) mutable {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        start([&io, shared](Result result) {
          asio::post(io, [shared, result = std::move(result)]() mutable { (*shared)(std::move(result)); });
        });
      },
      asio::use_awaitable);
}

}  // namespace

asio::ip::tcp::endpoint endpoint_of(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos)
    throw std::runtime_error(fmt::format("expected address:port, got \"{}\"", text));
  return {asio::ip::make_address(text.substr(0, colon)),
          static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)))};
}

Service::Service(asio::io_context& io, const ServiceOptions& options)
    : io_(io),
      listen_(endpoint_of(options.listen)),
      cache_(endpoint_of(options.redis), cache_deadline, cache_time_),
      volume_(options.volume, flush_),
      catalogue_(options.postgres, catalogue_time_) {}

asio::awaitable<Reply> Service::answer(std::string method, std::string target, std::string body) {
  if (method == "GET" && target == "/healthz") co_return Reply{200, "{\"status\":\"ok\"}\n"};
  if (method == "GET" && target == "/metrics") co_return Reply{200, metrics(), "text/plain; version=0.0.4"};

  const auto start = Clock::now();
  const bool writes = method == "PUT" || method == "POST";
  const auto path = playlist_path(target);
  Reply reply{404, "{\"error\":\"no such route\"}\n"};
  if (method == "POST" && target == "/plays")
    reply = co_await ingest(std::move(body));
  else if (method == "GET" && path && path->rest.empty())
    reply = co_await read(path->id);
  else if (writes && path && path->rest.empty())
    reply = co_await save(path->id, std::move(body));
  else if (method == "POST" && path && path->rest == "/plays")
    reply = co_await play(path->id);
  (writes ? writes_ : reads_).observe(seconds_since(start));
  requests_.add(fmt::format("route=\"{}\",code=\"{}\"", writes ? "write" : "read", reply.status));
  co_return reply;
}

// A cache that is slow or gone costs its deadline, not the answer.
asio::awaitable<Reply> Service::read(unsigned id) {
  auto cached = co_await cache_.get(key_of(id));
  cache_results_.add(!cached ? "result=\"error\"" : *cached ? "result=\"hit\"" : "result=\"miss\"");
  if (cached && *cached) co_return Reply{200, std::move(**cached)};
  auto found = co_await look_up(id);
  if (!found) co_return Reply{503, "{\"error\":\"the catalogue does not answer\"}\n"};
  if (!*found) co_return Reply{404, "{\"error\":\"no such playlist\"}\n"};
  if (cached) co_await cache_.set(key_of(id), **found, cache_lives);
  co_return Reply{200, std::move(**found)};
}

// Confirmed when durable on the volume; Redis then has it at once, and PostgreSQL a little later.
asio::awaitable<Reply> Service::save(unsigned id, std::string body) {
  boost::json::error_code malformed;
  boost::json::parse(body, malformed);
  if (malformed) co_return Reply{400, "{\"error\":\"expected JSON\"}\n"};
  auto record = fmt::format("save {} {}\n", id, body);
  const bool durable = co_await make_durable(std::move(record));
  if (!durable) co_return Reply{503, "{\"error\":\"the volume does not keep up\"}\n"};
  co_await cache_.set(key_of(id), body, cache_lives);
  catalogue_.save(id, std::move(body), note_failure());
  co_return Reply{204, ""};
}

asio::awaitable<Reply> Service::play(unsigned id) {
  auto record = fmt::format("play {}\n", id);
  const bool durable = co_await make_durable(std::move(record));
  if (!durable) co_return Reply{503, "{\"error\":\"the volume does not keep up\"}\n"};
  catalogue_.count_play(id, note_failure());
  co_return Reply{204, ""};
}

asio::awaitable<Reply> Service::ingest(std::string events) {
  const bool durable = co_await make_durable(std::move(events));
  co_return durable ? Reply{204, ""} : Reply{503, "{\"error\":\"the volume does not keep up\"}\n"};
}

asio::awaitable<bool> Service::make_durable(std::string record) {
  auto start = [this, record = std::move(record)](std::function<void(bool)> done) mutable {
    if (!volume_.append(std::move(record), done)) done(false);
  };
  return from_thread<bool>(io_, std::move(start));
}

asio::awaitable<Catalogue::Answer> Service::look_up(unsigned id) {
  auto start = [this, id](Catalogue::Done done) { catalogue_.find(id, std::move(done)); };
  return from_thread<Catalogue::Answer>(io_, std::move(start));
}

Catalogue::Done Service::note_failure() {
  return [this](const Catalogue::Answer& answer) {
    if (!answer) late_.add("");
  };
}

std::string Service::metrics() const {
  std::string out;
  requests_.print(out);
  cache_results_.print(out);
  late_.print(out);
  for (auto* one : {&reads_, &writes_, &flush_, &cache_time_, &catalogue_time_})
    one->print(out);
  print_gauge(out, "playlist_volume_oldest_wait_seconds",
              "how long the oldest change has waited to be durable", volume_.oldest_wait_s());
  return out;
}

}  // namespace squall::stack
