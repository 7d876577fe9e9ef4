#include "tests/support/server_process.hpp"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace squall::test {
namespace {

using namespace std::chrono_literals;

std::string read_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

pid_t spawn(const std::vector<std::string>& command, const std::filesystem::path& output) {
  std::vector<char*> argv;
  for (const std::string& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed) throw std::runtime_error(fmt::format("start {}: {}", command[0], strerror(failed)));
  return pid;
}

std::vector<std::string> dies_with_the_test(const std::vector<std::string>& command,
                                            const std::string& user) {
  std::vector<std::string> all = {"setpriv", "--pdeathsig", "KILL"};
  if (!user.empty() && geteuid() == 0)
    for (const auto& word : {"--reuid=" + user, "--regid=" + user, std::string("--init-groups")})
      all.push_back(word);
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int bound(int type, std::uint16_t port) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = std::filesystem::temp_directory_path() / "squall-test-XXXXXX";
  if (!mkdtemp(pattern.data()))
    throw std::runtime_error("make a temporary directory: " + std::string(strerror(errno)));
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TemporaryDirectory::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name) << text;
  return path_ / name;
}

std::uint16_t free_port() {
  for (int attempt = 0; attempt < 50; ++attempt) {
    const int tcp = bound(SOCK_STREAM, 0);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(tcp, reinterpret_cast<sockaddr*>(&address), &size);
    const std::uint16_t port = ntohs(address.sin_port);
    const int udp = bound(SOCK_DGRAM, port);
    ::close(tcp);
    if (udp < 0) continue;
    ::close(udp);
    return port;
  }
  throw std::runtime_error("find a free port: none in 50 attempts");
}

bool port_answers(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool answered = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return answered;
}

std::string run(const std::vector<std::string>& command) {
  const TemporaryDirectory directory;
  const auto output = directory.path() / "output";
  const pid_t pid = spawn(command, output);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::string text = read_text(output);
  if (status != 0)
    throw std::runtime_error(fmt::format("{}: wait status {:#x}\n{}", fmt::join(command, " "), status, text));
  return text;
}

ServerProcess::ServerProcess(Start start) : start_(std::move(start)) {
  pid_ = spawn(dies_with_the_test(start_.command, start_.user), directory_.path() / "output");
  try {
    wait_until_ready();
  } catch (...) {
    signal(SIGKILL);
    stop();
    throw;
  }
}

ServerProcess::~ServerProcess() {
  stop();
}

void ServerProcess::wait_until_ready() {
  const auto deadline = std::chrono::steady_clock::now() + start_.patience;
  while (!port_answers(port())) {
    if (ended()) throw std::runtime_error("the server ended at once:\n" + output());
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error(
          fmt::format("port {} does not answer within {} s:\n{}", port(), start_.patience.count(), output()));
    std::this_thread::sleep_for(5ms);
  }
}

std::string ServerProcess::output() const {
  return read_text(directory_.path() / "output");
}

bool ServerProcess::ended() {
  if (pid_ < 0) return true;
  if (::waitpid(pid_, nullptr, WNOHANG) == 0) return false;
  pid_ = -1;
  return true;
}

void ServerProcess::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void ServerProcess::stop() {
  if (ended()) return;
  signal(start_.stop_signal);
  signal(SIGCONT);  // a stopped process takes no other signal
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!ended()) {
    if (std::chrono::steady_clock::now() > deadline) signal(SIGKILL);
    std::this_thread::sleep_for(2ms);
  }
}

}  // namespace squall::test
