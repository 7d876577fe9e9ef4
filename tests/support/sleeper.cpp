#include "tests/support/sleeper.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

void enter(const std::string& cgroup_folder) {
  if (cgroup_folder.empty()) return;
  const int file = ::open((cgroup_folder + "/cgroup.procs").c_str(), O_WRONLY);
  if (file < 0 || ::write(file, "0", 1) != 1) ::_exit(21);
  ::close(file);
}

void listen_on(std::uint16_t port, bool on_loopback) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(on_loopback ? INADDR_LOOPBACK : INADDR_ANY);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket, 8) != 0)
    ::_exit(22);
}

template <class Is>
void wait_until(pid_t pid, Is is) {
  for (int i = 0; i < 2000; ++i, std::this_thread::sleep_for(5ms)) {
    if (is()) return;
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid)
      throw std::runtime_error(fmt::format("the process ended at once with {}", status));
  }
  throw std::runtime_error("the process does not begin");
}

bool is_running(pid_t& pid) {
  if (pid > 0 && ::waitpid(pid, nullptr, WNOHANG) == pid) pid = -1;
  return pid > 0;
}

void end(pid_t& pid) {
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid = -1;
}

}  // namespace

Sleeper::Sleeper(const Start& start) {
  std::error_code there;
  if (!fs::exists(start.executable)) fs::copy_file("/bin/sleep", start.executable);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(start.cgroup_folder);
    if (start.port) listen_on(start.port, start.on_loopback);
    ::execl(start.executable.c_str(), fs::path(start.executable).filename().c_str(), start.argument.c_str(),
            nullptr);
    ::_exit(23);
  }
  wait_until(pid_,
             [&] { return fs::read_symlink(fmt::format("/proc/{}/exe", pid_), there) == start.executable; });
}

Sleeper::~Sleeper() {
  end(pid_);
}
bool Sleeper::alive() {
  return is_running(pid_);
}
void Sleeper::kill() {
  end(pid_);
}

WithoutFirstThread::WithoutFirstThread(const std::string& cgroup_folder) {
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(cgroup_folder);
    pthread_t thread{};
    if (::pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
              for (;;)
                ::pause();
            },
            nullptr) != 0)
      ::_exit(24);
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  wait_until(pid_, [&] {
    std::ifstream file{fmt::format("/proc/{}/stat", pid_)};
    std::string text;
    std::getline(file, text);
    return text.find(") Z ") != std::string::npos;
  });
}

WithoutFirstThread::~WithoutFirstThread() {
  end(pid_);
}
bool WithoutFirstThread::alive() {
  return is_running(pid_);
}

}  // namespace squall::test
