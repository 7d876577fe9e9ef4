#include "tests/support/servers.hpp"

#include <stdexcept>
#include <thread>

#include <pwd.h>
#include <unistd.h>

#include <fmt/format.h>

namespace squall::test {
namespace {

using namespace std::chrono_literals;

std::string self_signed(const TemporaryDirectory& files) {
  const std::string key = files.path() / "key.pem", certificate = files.path() / "certificate.pem";
  run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
       "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
       "-keyout", key, "-out", certificate});
  return fmt::format("ssl_certificate {}; ssl_certificate_key {};", certificate, key);
}

std::string nginx_configuration(const TemporaryDirectory& files, const std::string& locations, bool tls,
                                std::uint16_t port) {
  const std::string at = files.path();
  return fmt::format(
      "daemon off; master_process off; worker_processes 1; pid {0}/pid; error_log stderr;\n"
      "events {{ worker_connections 4096; }}\n"
      "http {{ access_log off; keepalive_requests 1000000;\n"
      "  client_body_temp_path {0}/1; proxy_temp_path {0}/2; fastcgi_temp_path {0}/3; uwsgi_temp_path "
      "{0}/4;\n"
      "  scgi_temp_path {0}/5;\n"
      "  server {{ listen 127.0.0.1:{1}{2}; {3}\n{4}\n}} }}\n",
      at, port, tls ? " ssl" : "", tls ? self_signed(files) : "", locations);
}

Server started(std::unique_ptr<TemporaryDirectory> files, ServerProcess::Start start) {
  return {std::move(files), std::make_unique<ServerProcess>(std::move(start))};
}

std::uint16_t or_free(std::uint16_t port) {
  return port ? port : free_port();
}

void give_to_postgres(const std::filesystem::path& path) {
  if (geteuid() != 0) return;
  const passwd* user = getpwnam("postgres");
  if (!user) throw std::runtime_error("find the user postgres: no such user");
  if (chown(path.c_str(), user->pw_uid, user->pw_gid) != 0)
    throw std::runtime_error("chown " + path.string());
}

std::vector<std::string> as_postgres(std::vector<std::string> command) {
  if (geteuid() == 0)
    command.insert(command.begin(), {"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"});
  return command;
}

// Debian keeps the programs of each major version in a directory of their own.
std::filesystem::path postgres_programs() {
  std::filesystem::path newest;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql"))
    newest = std::max(newest, entry.path() / "bin");
  return newest;
}

}  // namespace

Server start_nginx(const std::string& locations, bool tls, std::uint16_t port) {
  auto files = std::make_unique<TemporaryDirectory>();
  port = or_free(port);
  const auto configuration = files->write("nginx.conf", nginx_configuration(*files, locations, tls, port));
  return started(std::move(files),
                 {.command = {"/usr/sbin/nginx", "-e", "stderr", "-c", configuration}, .port = port});
}

Server start_redis(const std::vector<std::string>& options, std::uint16_t port) {
  auto files = std::make_unique<TemporaryDirectory>();
  port = or_free(port);
  std::vector<std::string> command = {
      "redis-server", "--port",     std::to_string(port), "--bind", "127.0.0.1", "--save", "",
      "--dir",        files->path()};
  command.insert(command.end(), options.begin(), options.end());
  return started(std::move(files), {.command = std::move(command), .port = port});
}

Server start_postgres() {
  auto files = std::make_unique<TemporaryDirectory>();
  give_to_postgres(files->path());
  const std::string data = files->path() / "data";
  const auto programs = postgres_programs();
  run(as_postgres(
      {programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"}));
  const std::uint16_t port = free_port();
  Server server = started(std::move(files),
                          {.command = {programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p",
                                       std::to_string(port), "-k", "", "-F", "-c", "shared_buffers=2MB"},
                           .port = port,
                           .user = "postgres",
                           .stop_signal = SIGINT});  // SIGTERM waits for its clients to leave
  // The port answers before the database does.
  const std::string ready = programs / "pg_isready";
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  for (;;) {
    try {
      run({ready, "-h", "127.0.0.1", "-p", std::to_string(port)});
      break;
    } catch (const std::runtime_error&) {
      if (std::chrono::steady_clock::now() > deadline) throw;
      std::this_thread::sleep_for(20ms);
    }
  }
  return server;
}

Server start_dnsmasq(const std::vector<std::string>& options) {
  auto files = std::make_unique<TemporaryDirectory>();
  const std::uint16_t port = free_port();
  std::vector<std::string> command = {
      "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",         "--no-hosts",
      "--no-resolv",       "--bind-interfaces",    "--listen-address=127.0.0.1",    "--user=root",
      "--pid-file",        "--local=/test/",       "--port=" + std::to_string(port)};
  command.insert(command.end(), options.begin(), options.end());
  return started(std::move(files), {.command = std::move(command), .port = port});
}

}  // namespace squall::test
