// One alert source, behind one interface; each kind is a pair of its own.
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "controller/alerts/watch.hpp"
#include "controller/http/client.hpp"

namespace squall {

class AlertSource {
 public:
  virtual ~AlertSource() = default;
  // Begins to watch; `ready` is called once, after the first answer or failure.
  virtual void run(std::function<void()> ready) = 0;
  // One last look, then `done`.
  virtual void finish(std::function<void()> done) = 0;
};

std::unique_ptr<AlertSource> make_prometheus(boost::asio::io_context&, http::Client&, const AlertSourceSpec&,
                                             const AlertWatch::Sinks&);
std::unique_ptr<AlertSource> make_alertmanager(boost::asio::io_context&, http::Client&,
                                               const AlertSourceSpec&, const AlertWatch::Sinks&);
std::unique_ptr<AlertSource> make_webhook(boost::asio::io_context&, const AlertSourceSpec&,
                                          const AlertWatch::Sinks&);

}  // namespace squall
