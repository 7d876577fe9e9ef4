#include "controller/http/client.hpp"

#include <cerrno>
#include <mutex>
#include <new>
#include <unordered_map>

#include <unistd.h>

#include <curl/curl.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/http/transfer.hpp"

namespace squall::http {
namespace {

namespace asio = boost::asio;

// A socket libcurl asked us to watch. libcurl opens and closes it; the descriptor only waits.
struct Watched {
  explicit Watched(asio::io_context& loop) : descriptor(loop) {}
  ~Watched() { forget(); }
  // Lets go of the descriptor while its number is still its own. Later the number may be another socket's,
  // and giving it back to the reactor would take that one out of epoll.
  void forget() {
    wanted = 0;
    if (descriptor.is_open()) descriptor.release();
  }
  asio::posix::stream_descriptor descriptor;
  int wanted = 0;  // CURL_POLL_IN, CURL_POLL_OUT
  bool reading = false, writing = false;
  bool opened_here = false;  // libcurl will close it through close_socket()
  bool told = false;         // libcurl has asked for it to be watched
};

}  // namespace

struct Client::State : std::enable_shared_from_this<State> {
  explicit State(asio::io_context& io);
  ~State() { close(); }
  void close();

  std::uint64_t add(Request request, Handler handler);
  void give_up(std::uint64_t request);
  void act(curl_socket_t fd, int events);
  void hand_out_answers();
  void watch(curl_socket_t fd, int what);
  void wait(curl_socket_t fd, const std::shared_ptr<Watched>& socket);
  void wait_for(curl_socket_t fd, const std::shared_ptr<Watched>& socket, bool Watched::* pending, int poll,
                int event);
  bool is_current(curl_socket_t fd, const std::shared_ptr<Watched>& socket) const;
  void set_timer(long milliseconds);

  static int on_socket(CURL*, curl_socket_t, int what, void* self, void*);
  static int on_timer(CURLM*, long milliseconds, void* self);
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr*);
  static int close_socket(void* self, curl_socket_t);

  asio::io_context& loop;
  asio::steady_timer timer;
  CURLM* multi = nullptr;
  std::unordered_map<curl_socket_t, std::shared_ptr<Watched>> sockets;
  std::unordered_map<std::uint64_t, std::unique_ptr<Transfer>> transfers;
  std::uint64_t last_request = 0;
  std::vector<std::unique_ptr<Transfer>> idle;  // their handles are reused
};

Client::State::State(asio::io_context& io) : loop(io), timer(io) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  multi = curl_multi_init();
  if (!multi) throw std::bad_alloc();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &State::on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &State::on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  // By default only four times as many connections stay open as there are transfers at the moment.
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1024L);
}

void Client::State::close() {
  if (!multi) return;
  for (auto& [number, transfer] : transfers)
    curl_multi_remove_handle(multi, transfer->easy());
  curl_multi_cleanup(multi);  // closes the connections through close_socket()
  multi = nullptr;
  transfers.clear();
  idle.clear();
  sockets.clear();
  timer.cancel();
}

std::uint64_t Client::State::add(Request request, Handler handler) {
  std::unique_ptr<Transfer> transfer;
  if (idle.empty()) {
    transfer = std::make_unique<Transfer>();
  } else {
    transfer = std::move(idle.back());
    idle.pop_back();
  }
  const auto number = ++last_request;
  transfer->prepare(number, std::move(request), std::move(handler));
  CURL* easy = transfer->easy();
  transfer->owner = this;
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &State::open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer.get());
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &State::close_socket);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
  transfers.emplace(number, std::move(transfer));
  curl_multi_add_handle(multi, easy);  // sets the timer to 0: the work begins when the loop turns
  return number;
}

void Client::State::give_up(std::uint64_t request) {
  const auto found = transfers.find(request);
  if (found == transfers.end()) return;
  curl_multi_remove_handle(multi, found->second->easy());
  const Handler dropped = found->second->take_handler();  // what it holds may ask us something when it goes
  transfers.erase(found);
}

void Client::State::act(curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi, fd, events, &running);
  hand_out_answers();
}

// A handler may ask again, or destroy the client.
void Client::State::hand_out_answers() {
  const auto alive = shared_from_this();
  std::vector<std::pair<Handler, Answer>> answers;
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode result = message->data.result;
    auto node = transfers.extract(Transfer::number_of(message->easy_handle));
    answers.emplace_back(node.mapped()->take_handler(), node.mapped()->answer(result));
    curl_multi_remove_handle(multi, node.mapped()->easy());
    idle.push_back(std::move(node.mapped()));
  }
  for (auto& [handler, answer] : answers) {
    if (!multi) return;
    handler(std::move(answer));
  }
}

void Client::State::watch(curl_socket_t fd, int what) {
  const auto found = sockets.find(fd);
  if (what == CURL_POLL_REMOVE) {
    // A notice about a number whose socket libcurl never mentioned means the one that had it before.
    if (found == sockets.end() || !found->second->told) return;
    // An idle connection stays registered until it is closed: that saves two epoll_ctl(2) a request.
    if (found->second->opened_here)
      found->second->wanted = 0;
    else
      found->second->forget(), sockets.erase(found);
    return;
  }
  auto& socket = found != sockets.end() ? found->second : sockets[fd];
  if (!socket) socket = std::make_shared<Watched>(loop);
  if (!socket->descriptor.is_open()) {
    boost::system::error_code ignored;  // libcurl's own timeouts report a socket that never becomes ready
    socket->descriptor.assign(fd, ignored);
  }
  socket->wanted = what;
  socket->told = true;
  wait(fd, std::shared_ptr(socket));
}

void Client::State::wait(curl_socket_t fd, const std::shared_ptr<Watched>& socket) {
  if ((socket->wanted & CURL_POLL_IN) && !socket->reading)
    wait_for(fd, socket, &Watched::reading, CURL_POLL_IN, CURL_CSELECT_IN);
  if ((socket->wanted & CURL_POLL_OUT) && !socket->writing)
    wait_for(fd, socket, &Watched::writing, CURL_POLL_OUT, CURL_CSELECT_OUT);
}

void Client::State::wait_for(curl_socket_t fd, const std::shared_ptr<Watched>& socket,
                             bool Watched::* pending, int poll, int event) {
  using Wait = asio::posix::stream_descriptor;
  (*socket).*pending = true;
  socket->descriptor.async_wait(
      poll == CURL_POLL_IN ? Wait::wait_read : Wait::wait_write,
      [weak = weak_from_this(), fd, socket, pending, poll, event](const boost::system::error_code& failed) {
        (*socket).*pending = false;
        const auto self = weak.lock();
        if (!self || !self->multi || failed == asio::error::operation_aborted) return;
        // The number may be another socket's by now.
        if (!(socket->wanted & poll) || !self->is_current(fd, socket)) return;
        self->act(fd, failed ? CURL_CSELECT_ERR : event);
        if (self->multi && self->is_current(fd, socket)) self->wait(fd, socket);
      });
}

bool Client::State::is_current(curl_socket_t fd, const std::shared_ptr<Watched>& socket) const {
  const auto found = sockets.find(fd);
  return found != sockets.end() && found->second == socket;
}

void Client::State::set_timer(long milliseconds) {
  if (milliseconds < 0) {
    timer.cancel();
    return;
  }
  const auto act_on_time = [weak = weak_from_this()](const boost::system::error_code& failed) {
    const auto self = weak.lock();
    if (failed || !self || !self->multi) return;
    self->act(CURL_SOCKET_TIMEOUT, 0);
  };
  if (milliseconds == 0) {
    asio::post(loop, [act_on_time] {
      act_on_time({});
    });  // as each request begins: no need to set the kernel's timer
    return;
  }
  timer.expires_after(std::chrono::milliseconds(milliseconds));
  timer.async_wait(act_on_time);
}

int Client::State::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  static_cast<State*>(self)->watch(fd, what);
  return 0;
}

int Client::State::on_timer(CURLM*, long milliseconds, void* self) {
  static_cast<State*>(self)->set_timer(milliseconds);
  return 0;
}

curl_socket_t Client::State::open_socket(void* self, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(self);
  auto& state = *static_cast<State*>(transfer.owner);
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) {
    transfer.no_socket(errno);
    return CURL_SOCKET_BAD;
  }
  // Whoever had the number before closed it without a word.
  if (const auto before = state.sockets.find(fd); before != state.sockets.end()) before->second->forget();
  auto socket = std::make_shared<Watched>(state.loop);
  socket->opened_here = true;
  state.sockets.insert_or_assign(fd, std::move(socket));
  return fd;
}

int Client::State::close_socket(void* self, curl_socket_t fd) {
  auto& sockets = static_cast<State*>(self)->sockets;
  if (const auto found = sockets.find(fd); found != sockets.end()) {
    // Waits that are still queued hold the Watched: the descriptor must let go of the number before it is
    // reused.
    found->second->forget();
    sockets.erase(found);
  }
  return ::close(fd);
}

Client::Client(asio::io_context& io) : state_(std::make_shared<State>(io)) {}

Client::~Client() {
  state_->close();
}

std::uint64_t Client::get(Request request, std::function<void(Answer)> handler) {
  return state_->add(std::move(request), std::move(handler));
}

void Client::give_up(std::uint64_t request) {
  state_->give_up(request);
}

std::string Client::local(std::uint64_t request) const {
  const auto found = state_->transfers.find(request);
  return found == state_->transfers.end() ? "" : found->second->local();
}

}  // namespace squall::http
