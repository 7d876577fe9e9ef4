// How many HTTP probes a second one core carries, beside blackbox exporter on the same machine, in the same
// run.
//
//   probes_bench [SECONDS [RATE]]     nginx on the first CPU, what is measured on the second
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>

#include "controller/http/client.hpp"
#include "controller/probes/prober.hpp"
#include "tests/support/servers.hpp"

namespace squall {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

void pin(pid_t pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(pid, sizeof set, &set) != 0) std::perror("pin to a CPU");
}

double own_cpu_seconds() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// Fields 14 and 15 of /proc/PID/stat, in clock ticks.
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i)
    fields >> skipped;
  long user = 0, system = 0;
  fields >> user >> system;
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double milliseconds_at(const std::vector<std::int64_t>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[at]) / 1e6;
}

// `rate` probes a second in total, each 10 times a second. Returns how many a core could carry, by the CPU
// time used; 0 where fewer than 99 % were answered.
double ours(const char* what, const std::string& url, int rate, double seconds) {
  boost::asio::io_context loop;
  std::vector<std::int64_t> latencies;
  std::size_t answers = 0, ok = 0;
  const auto start = Clock::now();
  Prober prober(loop, start, [&](const std::string&, const std::string&, const ProbeSample& sample) {
    latencies.push_back(sample.latency_ns);
    ++answers;
    ok += sample.ok;
  });
  for (int i = 0; i < rate / 10; ++i)
    prober.add("nginx", {.name = std::to_string(i),
                         .object = url,
                         .every = {100'000'000},
                         .connection = ProbeSpec::Connection::kept});
  const double before = own_cpu_seconds();
  prober.run();
  loop.run_for(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds)));
  prober.finish([] {});
  loop.run();
  const double wall = std::chrono::duration<double>(Clock::now() - start).count();
  const double cpu = own_cpu_seconds() - before;
  std::sort(latencies.begin(), latencies.end());
  const auto reported = static_cast<double>(answers);
  std::printf(
      "%-8s %6d/s asked  %8.1f/s reported (%.1f %% ok)  %6.1f us CPU each  %3.0f %% of a core  "
      "p50 %.2f ms  p99 %.2f ms  max %.1f ms\n",
      what, rate, reported / seconds, 100 * static_cast<double>(ok) / reported, cpu / reported * 1e6,
      100 * cpu / wall, milliseconds_at(latencies, 0.5), milliseconds_at(latencies, 0.99),
      milliseconds_at(latencies, 1));
  const bool carried = static_cast<double>(ok) >= 0.99 * rate * seconds;
  return carried ? reported / cpu : 0;
}

// A server that accepts and never answers: each probe is a connection and a timeout of 1 s.
void stalled(double seconds) {
  boost::asio::io_context loop;
  boost::asio::ip::tcp::acceptor acceptor(loop, {boost::asio::ip::address_v4::loopback(), 0});
  acceptor.listen(4096);
  const auto port = std::to_string(acceptor.local_endpoint().port());
  ours("stalled", "http://127.0.0.1:" + port + "/", 1000, std::min(seconds, 4.0));
}

// As many as it takes, eight at a time, over its HTTP interface. Our own asking is on the other CPU.
double blackbox(const std::string& url, double seconds) {
  const auto port = test::free_port();
  const test::TemporaryDirectory files;
  const auto configuration =
      files.write("blackbox.yml", "modules: {http_2xx: {prober: http, timeout: 5s}}\n");
  test::ServerProcess exporter(
      {.command = {"taskset", "-c", "1", "prometheus-blackbox-exporter",
                   "--config.file=" + configuration.string(),
                   "--web.listen-address=127.0.0.1:" + std::to_string(port), "--log.level=error"},
       .port = port});
  boost::asio::io_context loop;
  http::Client client(loop);
  const std::string question = "http://" + exporter.address() + "/probe?module=http_2xx&target=" + url;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::size_t ok = 0;
  std::function<void()> again = [&] {
    client.get({.url = question}, [&](const http::Answer& answer) {
      ok += answer.ok && answer.body.find("\nprobe_success 1") != std::string::npos;
      if (Clock::now() < end) again();
    });
  };
  const double before = cpu_seconds(exporter.pid());
  for (int i = 0; i < 8; ++i)
    again();
  loop.run();
  const double cpu = cpu_seconds(exporter.pid()) - before;
  const auto answered = static_cast<double>(ok);
  std::printf("blackbox exporter       %8.1f/s ok                   %6.1f us CPU each\n", answered / seconds,
              cpu / answered * 1e6);
  return answered / cpu;
}

}  // namespace
}  // namespace squall

int main(int count, char** arguments) {
  std::vector<int> rates = {100, 1000, 5000, 10000, 20000};
  if (count > 2) rates = {std::atoi(arguments[2])};
  const double seconds = count > 1 ? std::atof(arguments[1]) : 5;
  const squall::test::Server nginx = squall::test::start_nginx("location / { return 200 ok; }");
  const std::string url = "http://" + nginx.address() + "/";
  squall::pin(nginx.process->pid(), 0);
  squall::pin(0, 1);
  double best = 0;
  for (const int rate : rates)
    best = std::max(best, squall::ours("squall", url, rate, seconds));
  squall::stalled(seconds);
  squall::pin(0, 0);
  const double theirs = squall::blackbox(url, seconds);
  std::printf("a core carries %.0f probes/s, blackbox exporter %.0f: %.1f times as many\n", best, theirs,
              best / theirs);
}
