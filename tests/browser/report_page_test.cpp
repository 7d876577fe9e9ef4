#include <cstdio>

#include <gtest/gtest.h>

#include "reports/render/render.hpp"
#include "tests/support/server_process.hpp"

namespace squall::test {
namespace {

constexpr std::string_view scenario_yaml =
    R"(scenario: redis-slow\nservices: {web: {probes: [{name: tcp, tcp: \"127.0.0.1:1\"}]}}\nmethod: [{fault: network.delay, for: 1s}]\nexpect: [{service: web, availability: \">= 90%\"}]\n)";

// A small drill: a baseline, a delay with its dose, probes before and while it lasts, an alert.
std::string small_record() {
  std::string out = fmt::format(
      R"({{"t":0,"at":1000000000,"kind":"run.started","version":"1","run":"r1","scenario":"redis-slow","title":"Redis </script><b>slow</b>","squad":"web","hypothesis":"h","seed":1,"host":"h","scenario_yaml":"{}","landscape_yaml":"","files":[],"plan":[]}})"
      "\n",
      scenario_yaml);
  auto add = [&](double t, const std::string& rest) {
    const auto ns = static_cast<std::int64_t>(t * 1e9);
    out += fmt::format(R"({{"t":{},"at":{},{}}})"
                       "\n",
                       ns, 1'000'000'000 + ns, rest);
  };
  add(0, R"("kind":"window.started","window":"baseline")");
  for (int i = 0; i < 20; ++i)
    add(0.1 * i, fmt::format(R"("kind":"probe","s":"web","p":"tcp","due":{},"lat":2000000,"ok":true)",
                             i * 100'000'000LL));
  add(2, R"("kind":"window.ended","window":"baseline")");
  add(2, R"("kind":"window.started","window":"method")");
  add(2,
      R"("kind":"fault.applied","step":"network.delay","fault":"network.delay","host":"here","mechanism":"m","targets":["lo"],"limits":[],"applied_at":3000000000,"apply_ns":500000)");
  for (int i = 0; i < 10; ++i)
    add(2.1 + 0.1 * i, fmt::format(R"("kind":"probe","s":"web","p":"tcp","due":{},"lat":82000000,"ok":{})",
                                   2'000'000'000LL + i * 100'000'000LL, i != 5));
  add(2.5,
      R"("kind":"alert","source":"prometheus","state":"firing","alert":"RedisSlow","labels":{"squad":"web"},"fingerprint":"ab","since":3500000000)");
  add(3.2,
      R"("kind":"fault.undone","step":"network.delay","host":"here","undone_at":4200000000,"undo_ns":5000,"why":"asked","clean":true,"left":[],"dose":{"prescribed":{"delay_ms":80},"measured":{"delay_ms":80.2},"samples":20,"verified":true})");
  add(3.2, R"("kind":"window.ended","window":"method")");
  add(3.3, R"("kind":"restored","host":"here","clean":true,"differences":[],"left":[])");
  add(4, R"("kind":"run.ended")");
  return out;
}

std::string chromium_says(const std::string& options, const std::string& page) {
  const auto command = fmt::format(
      "timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
      "--enable-logging=stderr {} file://{} 2>&1",
      options, page);
  std::string out;
  auto* pipe = ::popen(command.c_str(), "r");
  char part[4096];
  while (auto got = ::fread(part, 1, sizeof part, pipe))
    out.append(part, got);
  EXPECT_EQ(::pclose(pipe), 0) << out;
  return out;
}

class ReportPage : public testing::Test {
 protected:
  ReportPage() {
    std::vector<std::string> problems;
    const auto record = parse_record(small_record(), problems);
    EXPECT_TRUE(problems.empty()) << problems.front();
    html = render_html(record, judge(record));
    page = files.write("report.html", html).string();
  }
  TemporaryDirectory files;
  std::string html, page;
};

TEST_F(ReportPage, opens_without_a_console_message_in_both_colour_schemes) {
  for (auto* scheme :
       {"--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"}) {
    const auto said = chromium_says(std::string(scheme) + " --dump-dom", page);
    EXPECT_EQ(said.find("CONSOLE"), std::string::npos) << said.substr(0, 2000);
    EXPECT_NE(said.find("<svg"), std::string::npos);
    EXPECT_NE(said.find("</footer>"), std::string::npos);
  }
}

TEST_F(ReportPage, asks_nobody_for_anything) {
  EXPECT_EQ(html.find("src=\"http"), std::string::npos);
  EXPECT_EQ(html.find("href=\"http"), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
}

TEST_F(ReportPage, shows_what_users_wrote_as_text) {
  EXPECT_EQ(html.find("</script><b>slow"), std::string::npos);
  EXPECT_EQ(html.find("<b>slow</b>"), std::string::npos);
}

}  // namespace
}  // namespace squall::test
