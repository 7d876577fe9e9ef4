// The kinds of probes. Each throws std::invalid_argument where the probe's object makes no sense ("expected
// host:port").
#pragma once

#include <memory>

#include <boost/asio/io_context.hpp>

#include "controller/http/client.hpp"
#include "controller/probes/probe.hpp"
#include "scenarios/model/landscape.hpp"

namespace squall {

// http, redis and postgres make a connection for each question, or keep one and reuse it, as the spec says.

// Healthy: an accepted status and, where given, a body that matches.
std::unique_ptr<Probe> http_probe(http::Client&, const ProbeSpec&);

// A new connection each time, closed at once. Healthy: it was accepted.
std::unique_ptr<Probe> tcp_probe(boost::asio::io_context&, const ProbeSpec&);

// One UDP query each time, never repeated. Healthy: at least one record of the type.
std::unique_ptr<Probe> dns_probe(boost::asio::io_context&, const ProbeSpec&);

// PING; a kept connection that was lost fails one probe, the next connects anew. Healthy: PONG.
std::unique_ptr<Probe> redis_probe(boost::asio::io_context&, const ProbeSpec&);

// A statement; as redis_probe. Healthy: it succeeded, with or without rows.
std::unique_ptr<Probe> postgres_probe(boost::asio::io_context&, const ProbeSpec&);

// /bin/sh -c in a process group of its own, which is killed when the answer is there or given up. Healthy:
// exit code 0.
std::unique_ptr<Probe> command_probe(boost::asio::io_context&, const ProbeSpec&);

// Healthy: at least one process matches.
std::unique_ptr<Probe> process_probe(boost::asio::io_context&, const ProbeSpec&);

}  // namespace squall
