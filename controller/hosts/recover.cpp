#include "controller/hosts/recover.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "controller/hosts/child.hpp"
#include "controller/hosts/far_command.hpp"
#include "injector/session/protocol.hpp"

namespace squall {
namespace {

namespace json = boost::json;

// More than a connection takes, the guardian's turn and the undo of what a thousand changes left.
constexpr auto patience = std::chrono::seconds{30};

json::array list(const json::object& in, const char* key) {
  const auto* value = in.if_contains(key);
  return value && value->is_array() ? value->get_array() : json::array{};
}

void take(HostRecovered& out, const json::object& told, bool here, const std::string& session) {
  out.reached = true;
  const auto has = [&](const char* key) {
    const auto sessions = list(told, key);
    return std::find(sessions.begin(), sessions.end(), json::value(session)) != sessions.end();
  };
  // An injector whose link ends undoes by itself; which of them it was is known only where the host tells, or
  // where it is dead for sure.
  const bool guardian = told.contains("ended") ? has("ended") : here;
  out.by = has("carried_out")       ? "squall-injector recover, which squall started"
           : guardian               ? "its guardian"
           : told.contains("ended") ? "the injector itself, before its end,"
                                    : "the injector or guardian there";
  out.left = list(told, "left");
  for (auto& cost : list(told, "costs"))
    if (auto* one = cost.if_object(); one && one->contains("step") && one->contains("text"))
      out.costs += fmt::format("; {}: {}", json::value_to<std::string>(one->at("step")),
                               json::value_to<std::string>(one->at("text")));
}

}  // namespace

std::string HostRecovered::note() const {
  if (!reached)
    return fmt::format(
        "the injector was lost, and the host could not be asked what became of it: {}. Its guardian undoes "
        "there, within {} s of the "
        "last word, which nobody has seen; look with `squall status --host` when it can be reached",
        by, default_lease_ns / 1'000'000'000);
  return fmt::format("the injector was lost; {} carried out its journal{}", by, costs);
}

boost::asio::awaitable<HostRecovered> recover_lost_host(boost::asio::io_context& io, HostSpec host,
                                                        LinkOptions options, std::string session) {
  HostRecovered out;
  Finished done;
  std::string problem;
  try {
    done =
        co_await run_beside(io, injector_command(host, options, "recover", {"--output", "json"}), patience);
  } catch (const std::exception& e) {
    problem = e.what();
  }
  // A login shell may print before it.
  boost::system::error_code broken;
  const auto start = done.out.find("{\"");
  const auto said =
      json::parse(start == done.out.npos ? "" : std::string_view(done.out).substr(start), broken);
  const auto* about = broken ? nullptr : said.if_object();
  if (about && about->contains("clean") && !done.late) {
    take(out, *about, host.link == HostSpec::Link::local, session);
    out.clean = done.exit_code == 0;
  } else {
    out.by = !problem.empty() ? problem
             : done.late      ? fmt::format("no answer within {} s", patience.count())
                              : in_one_line(done.out + "\n" + done.err);
    if (out.by.empty())
      out.by = fmt::format("`squall-injector recover` ended with exit code {}", done.exit_code);
    out.left = json::array{json::object{{"detail", fmt::format("not known: {}", out.by)}}};
  }
  co_return out;
}

HostRescued rescue_host(const HostSpec& host, const LinkOptions& options, const std::string& session) {
  const auto done =
      run_to_end(injector_command(host, options, "rescue", {"--session", session, "--output", "json"}));
  boost::system::error_code broken;
  const auto said = json::parse(done.out, broken);
  const auto* about = broken ? nullptr : said.if_object();
  if (!about) return {.text = fmt::format("nobody could look after it: {}{}", done.out, done.err)};
  if (about->contains("suspended")) return {.reached = true};
  return {true, true, done.exit_code == 0,
          done.exit_code == 0
              ? "it was undone by another way"
              : fmt::format("not all of it could be undone: {}",
                            json::serialize(about->contains("left") ? about->at("left") : json::value{}))};
}

}  // namespace squall
