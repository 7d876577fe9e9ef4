#include "tests/serve/daemon.hpp"

#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "controller/serve/rights/secret.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/squall_process.hpp"

namespace squall::test {
namespace fs = std::filesystem;

Daemon::Daemon() {
  drills.write("people.yaml", people());
}

void Daemon::start(const std::vector<std::string>& more) {
  if (port == 0) port = free_port();
  ::setenv("XDG_RUNTIME_DIR", state.path().c_str(), 1);
  std::vector<std::string> command{bin_dir() + "/squall",
                                   "serve",
                                   "--drills",
                                   drills.path().string(),
                                   "--state",
                                   state.path().string(),
                                   "--listen",
                                   fmt::format("127.0.0.1:{}", port)};
  command.insert(command.end(), more.begin(), more.end());
  process.reset();
  process = std::make_unique<ServerProcess>(ServerProcess::Start{command, port});
  get("", "/healthz");  // it listens before it has begun: its answer tells that it has
}

void Daemon::kill() {
  process->signal(SIGKILL);
  process.reset();
}

namespace {

Reply asked(const Daemon& daemon, const std::string& who, const std::string& path,
            const std::vector<std::string>& more) {
  std::vector<std::string> command{"curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}"};
  if (!who.empty()) command.insert(command.end(), {"-H", "Authorization: Bearer " + daemon.token(who)});
  command.insert(command.end(), more.begin(), more.end());
  command.push_back(fmt::format("http://127.0.0.1:{}{}", daemon.port, path));
  const auto out = run(command);
  const auto end = out.rfind('\n');
  return {std::stoi(out.substr(end + 1)), out.substr(0, end)};
}

}  // namespace

Reply Daemon::get(const std::string& who, const std::string& path,
                  const std::vector<std::string>& more) const {
  return asked(*this, who, path, more);
}

Reply Daemon::post(const std::string& who, const std::string& path, const std::string& json,
                   const std::vector<std::string>& more) const {
  auto all = more;
  all.insert(all.end(), {"-X", "POST", "-H", "Content-Type: application/json", "--data-binary", json});
  return asked(*this, who, path, all);
}

boost::json::object Daemon::ended(const std::string& id) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (std::chrono::steady_clock::now() < end) {
    const auto runs = get("vera", "/api/v1/runs").json();
    for (auto& one : runs.as_array())
      if (one.at("run").as_string() == id && one.at("state").as_string() == "ended") return one.as_object();
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  }
  return {};
}

std::string Daemon::record(const std::string& id) const {
  std::error_code missing;
  for (auto& entry : fs::directory_iterator(state.path() / "serve/runs" / id / "runs", missing))
    if (!entry.is_symlink()) return content(entry.path() / "events.jsonl");
  return "";
}

bool Daemon::record_holds(const std::string& id, const std::string& text) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (std::chrono::steady_clock::now() < end) {
    if (record(id).find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return false;
}

std::string people() {
  auto hash = [](const std::string& who) { return serve::sha256_hex(who + "-token-of-the-test"); };
  std::string out = "people:\n";
  auto add = [&](const std::string& who, const std::string& role, const std::string& squads) {
    out += fmt::format("  {}: {{roles: [{}], squads: [{}], tokens: [\"sha256:{}\"]}}\n", who, role, squads,
                       hash(who));
  };
  add("vera", "viewer", "");
  add("wolf", "member", "web");
  add("dora", "member", "db");
  add("lea", "lead", "");
  return out;
}

}  // namespace squall::test
