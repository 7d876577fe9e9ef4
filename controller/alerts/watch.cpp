#include "controller/alerts/watch.hpp"

#include <boost/asio/post.hpp>

#include "controller/alerts/source.hpp"

namespace squall {

struct AlertWatch::State {
  State(boost::asio::io_context& context, Sinks s) : io(context), client(context), sinks(std::move(s)) {}

  // Calls `all` once every source has called what it was given.
  void each(std::function<void(AlertSource&, std::function<void()>)> act, std::function<void()> all) {
    auto left = std::make_shared<std::size_t>(sources.size());
    if (sources.empty()) return boost::asio::post(io, std::move(all));
    for (auto& source : sources)
      act(*source, [left, all] {
        if (--*left == 0) all();
      });
  }

  boost::asio::io_context& io;
  http::Client client;
  Sinks sinks;
  std::vector<std::unique_ptr<AlertSource>> sources;
};

AlertWatch::AlertWatch(boost::asio::io_context& io, const std::vector<AlertSourceSpec>& specs, Sinks sinks)
    : state_(std::make_shared<State>(io, std::move(sinks))) {
  for (auto& spec : specs)
    switch (spec.kind) {
      case AlertSourceSpec::Kind::prometheus:
        state_->sources.push_back(make_prometheus(io, state_->client, spec, state_->sinks));
        break;
      case AlertSourceSpec::Kind::alertmanager:
        state_->sources.push_back(make_alertmanager(io, state_->client, spec, state_->sinks));
        break;
      case AlertSourceSpec::Kind::webhook:
        state_->sources.push_back(make_webhook(io, spec, state_->sinks));
        break;
    }
}

AlertWatch::~AlertWatch() = default;

void AlertWatch::run(std::function<void()> ready) {
  state_->each([](AlertSource& source, std::function<void()> one) { source.run(std::move(one)); },
               std::move(ready));
}

void AlertWatch::finish(std::function<void()> done) {
  state_->each([](AlertSource& source, std::function<void()> one) { source.finish(std::move(one)); },
               std::move(done));
}

}  // namespace squall
