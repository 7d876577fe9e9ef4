#include "reports/html/timeline.hpp"

#include <algorithm>

#include "reports/html/buckets.hpp"
#include "reports/html/scale.hpp"
#include "reports/judge/story.hpp"
#include "reports/record/text.hpp"
#include "reports/render/markup.hpp"

namespace squall {
namespace {

namespace json = boost::json;
using markup::xml;

constexpr double width = 1080, gutter = 190, right_margin = 16;
constexpr double lane_height = 26, chart_height = 84, strip_height = 14, gap = 16;
constexpr std::size_t most_alerts = 10, most_panels = 12, name_columns = 25;
constexpr std::int64_t most_buckets = 220, most_table_rows = 40;

// An alert's lane: its story, and what was expected of it where it was.
struct AlertLane {
  const AlertStory* story = nullptr;
  const AlertVerdict* verdict = nullptr;
};

// One probe's panel.
struct Panel {
  const ServiceVerdict* service = nullptr;
  const ProbeVerdict* probe = nullptr;
};

class Drawing {
 public:
  Drawing(const RunRecord& record, const Verdict& verdict)
      : record_(record), verdict_(verdict), stories_(alert_stories(record)) {
    const auto windows = report_windows(record);
    time_.from_t = windows.contains("baseline") ? windows.at("baseline").start_t : 0;
    time_.to_t = std::max(record.last_t, time_.from_t + 1'000'000'000);
    time_.left = gutter;
    time_.right = width - right_margin;
    const auto fault = record.fault_window();
    zero_ = fault ? fault->start_t : time_.from_t;
  }

  Timeline draw() {
    header();
    for (auto& fault : record_.faults)
      fault_lane(fault);
    y_ += gap / 2;
    services();
    alerts();
    axis();
    Timeline out;
    out.svg = fmt::format(
        "<svg id=\"timeline\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-labelledby=\"timeline-title "
        "timeline-text\">\n"
        "<title id=\"timeline-title\">Timeline of the drill</title>\n<desc "
        "id=\"timeline-text\">{}</desc>\n{}{}{}"
        "<line id=\"cursor\" class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{:.0f}\" y2=\"{:.0f}\" "
        "visibility=\"hidden\"/>\n</svg>",
        width, y_, xml(text::join(story(record_, verdict_), " ")), definitions(), shading(), body_,
        band_bottom_, axis_y_);
    out.table = table();
    out.json = data();
    return out;
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    body_ += fmt::format(format, std::forward<Args>(args)...);
    body_ += '\n';
  }

  void name(double y, std::string_view text, std::string_view second = "") {
    add("<text class=\"name\" x=\"0\" y=\"{:.1f}\">{}{}</text>", y, xml(text::cut(text, name_columns)),
        text::columns(text) > name_columns ? "<title>" + xml(text) + "</title>" : "");
    if (!second.empty())
      add("<text class=\"small\" x=\"0\" y=\"{:.1f}\">{}</text>", y + 15,
          xml(text::cut(second, name_columns + 6)));
  }

  std::string offset(std::int64_t t) const {
    const double s = static_cast<double>(t - zero_) / 1e9;
    return s < 0 ? "−" + text::seconds(-s) : s > 0 ? "+" + text::seconds(s) : text::seconds(0);
  }

  static std::string definitions() {
    return "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternTransform=\"rotate(45)\" "
           "patternUnits=\"userSpaceOnUse\">"
           "<rect class=\"hatch-back\" width=\"6\" height=\"6\"/><line class=\"hatch-line\" x1=\"0\" "
           "y1=\"0\" x2=\"0\" y2=\"6\"/></pattern></defs>\n";
  }

  void header() {
    for (auto& [window, span] : report_windows(record_)) {
      const double from = time_.x(span.start_t), to = time_.x(*span.end_t);
      if (to - from < 44) continue;
      add("<text class=\"band\" x=\"{:.1f}\" y=\"12\" text-anchor=\"middle\">{}</text>", (from + to) / 2,
          window == "fault"      ? "fault"
          : window == "baseline" ? "baseline"
                                 : "recovery");
    }
    y_ = band_bottom_ = 20;
  }

  std::string shading() const {
    std::string out;
    for (auto& [window, span] : report_windows(record_)) {
      const double from = time_.x(span.start_t), to = time_.x(*span.end_t);
      out += fmt::format(
          "<rect class=\"window {}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
          window, from, band_bottom_, std::max(0.0, to - from), axis_y_ - band_bottom_);
    }
    for (auto& still : record_.gaps) {
      const double from = time_.x(still.from_t), to = std::max(time_.x(still.to_t), from + 2);
      out += fmt::format(
          "<rect class=\"gap\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>squall "
          "stood still from {} to {}</title></rect>\n",
          from, band_bottom_, to - from, axis_y_ - band_bottom_, offset(still.from_t), offset(still.to_t));
    }
    return out;
  }

  void fault_lane(const FaultRecord& fault) {
    const double middle = y_ + lane_height / 2;
    name(middle + 4, fault.step == fault.fault ? fault.fault : fault.step);
    if (fault.applied_t) {
      const double from = time_.x(*fault.applied_t);
      const double to = std::max(time_.x(fault.lasting ? fault.undone_t.value_or(record_.last_t)
                                                       : fault.end_t().value_or(*fault.applied_t)),
                                 from + 4);
      const auto label = fmt::format("{}{}", short_name(fault), fault.lasting ? ", " + in_force(fault) : "");
      add("<rect class=\"fault-bar{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"18\" "
          "rx=\"3\"><title>{}</title></rect>",
          fault.dose && fault.dose->verified ? "" : " unproven", from, middle - 9, to - from, xml(label));
      const double room = to - from > (time_.right - from) / 2 ? to - from : time_.right - to;
      const auto columns = static_cast<std::size_t>(std::max(0.0, room - 14) / 6.6);
      const bool inside = room == to - from;
      if (columns > 8)
        add("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", inside ? "on-fault" : "small",
            inside ? from + 7 : to + 7, middle + 4, xml(text::cut(label, columns)));
    } else {
      add("<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">not applied: {}</text>", gutter + 4, middle + 4,
          xml(text::cut(fault.failed, 100)));
    }
    for (auto& event : fault.events)
      happening(event, middle);
    y_ += lane_height;
  }

  void happening(const FaultHappening& event, double middle) {
    const double x = time_.x(event.t);
    const bool back = event.what.ends_with("returned") || event.what.ends_with("answered");
    const auto shape = back ? fmt::format("{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}", x - 5, middle + 5,
                                          x + 5, middle + 5, x, middle - 5)
                            : fmt::format("{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}", x - 5, middle - 5,
                                          x + 5, middle - 5, x, middle + 5);
    add("<polygon class=\"{}\" points=\"{}\"><title>{} at {}</title></polygon>", back ? "came-back" : "went",
        shape, xml(event.what), offset(event.t));
  }

  void services() {
    double least = 1e9, most = 0;
    for (auto& service : verdict_.services)
      for (auto& probe : service.probes)
        panels_.push_back({&service, &probe});
    const auto shown = std::min(panels_.size(), most_panels);
    std::int64_t densest = 1;
    for (std::size_t i = 0; i < shown; ++i) {
      samples_.push_back(samples(panels_[i]));
      densest = std::max(densest, static_cast<std::int64_t>(samples_.back().size()));
    }
    const auto slice = bucket_width(time_.to_t - time_.from_t, densest, most_buckets);
    for (auto& samples : samples_) {
      buckets_.push_back(thin_out(samples, time_.from_t, time_.to_t, slice));
      for (auto& bucket : buckets_.back().buckets) {
        if (!bucket.p50_ms) continue;
        least = std::min(least, *bucket.p50_ms);
        most = std::max(most, *bucket.slowest_ms);
      }
    }
    if (least > most) least = 1, most = 100;
    for (std::size_t i = 0; i < shown; ++i)
      panel(panels_[i], buckets_[i], LatencyScale::around(least, most));
    if (panels_.size() > shown) {
      add("<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">{} more probes in the table below</text>", gutter,
          y_ + 12, panels_.size() - shown);
      y_ += 20;
    }
  }

  std::vector<ServiceSample> samples(const Panel& of) const {
    for (auto* series : probes_of(record_, of.service->service))
      if (series->probe == of.probe->probe) return samples_of(record_, *series);
    return {};
  }

  void panel(const Panel& of, const Buckets& buckets, LatencyScale latency) {
    auto& service = *of.service;
    latency.top = y_;
    latency.bottom = y_ + chart_height;
    name(y_ + 13, service.service,
         service.probes.size() > 1 ? of.probe->probe
         : service.squad.empty()   ? ""
                                   : "squad " + service.squad);
    const auto decades = latency.decades();
    for (auto ms : decades) {
      const double y = latency.y(ms);
      add("<line class=\"grid\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", time_.left,
          time_.right, y, y);
      add("<text class=\"tick\" x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", gutter - 6,
          y + (ms == decades.back()    ? 8
               : ms == decades.front() ? 0
                                       : 4),
          text::milliseconds(ms));
    }
    bound(service.service, latency);
    curves(buckets, latency);
    failures(buckets, latency.bottom + 3);
    recovery_mark(of.probe->recovery, latency);
    y_ = latency.bottom + strip_height + 3 + gap;
  }

  // What its p99 must not exceed.
  void bound(const std::string& service, const LatencyScale& latency) {
    const auto steady = steady_state(record_.scenario, service);
    std::optional<double> ms;
    for (auto& e : record_.scenario.expect)
      if (e.service == service && e.latency_p99) ms = e.latency_p99->bound.milliseconds();
    if (!ms && steady.latency_p99) ms = steady.latency_p99->bound.milliseconds();
    if (!ms || *ms > latency.high_ms || *ms < latency.low_ms) return;
    const double y = latency.y(*ms);
    add("<line class=\"bound\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"><title>p99 at most "
        "{}</title></line>",
        time_.left, time_.right, y, y, text::milliseconds(*ms));
  }

  void curves(const Buckets& all, const LatencyScale& latency) {
    // Broken where nothing was answered: a line across an outage would invent answers.
    std::size_t at = 0;
    auto& buckets = all.buckets;
    while (at < buckets.size()) {
      if (!buckets[at].p50_ms) {
        ++at;
        continue;
      }
      std::string upper, lower, middle;
      std::size_t end = at;
      for (; end < buckets.size() && buckets[end].p50_ms; ++end) {
        const double from = time_.x(buckets[end].from_t),
                     to = time_.x(std::min(buckets[end].from_t + all.width_ns, time_.to_t));
        const double slow = latency.y(*buckets[end].slowest_ms), half = latency.y(*buckets[end].p50_ms);
        upper +=
            fmt::format("{}{:.1f},{:.1f} {:.1f},{:.1f}", upper.empty() ? "M" : " L", from, slow, to, slow);
        middle +=
            fmt::format("{}{:.1f},{:.1f} {:.1f},{:.1f}", middle.empty() ? "M" : " L", from, half, to, half);
        lower = fmt::format(" L{:.1f},{:.1f} {:.1f},{:.1f}", to, half, from, half) + lower;
      }
      add("<path class=\"spread\" d=\"{}{} Z\"/><path class=\"median\" d=\"{}\"/>", upper, lower, middle);
      at = end;
    }
  }

  void failures(const Buckets& all, double top) {
    add("<line class=\"grid\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", time_.left,
        time_.right, top + strip_height, top + strip_height);
    add("<text class=\"tick\" x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">failed</text>", gutter - 6,
        top + strip_height - 2);
    for (auto& bucket : all.buckets) {
      if (!bucket.failed) continue;
      const double from = time_.x(bucket.from_t),
                   to = time_.x(std::min(bucket.from_t + all.width_ns, time_.to_t));
      const double height = std::max(3.0, bucket.failed_share() * strip_height);
      add("<rect class=\"failed\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>", from,
          top + strip_height - height, std::max(1.0, to - from), height);
    }
  }

  void recovery_mark(const Recovery& back, const LatencyScale& latency) {
    const auto ended = record_.faults_ended_t();
    if (!ended || !back.seconds || *back.seconds <= 0) return;
    const double x = time_.x(*ended + static_cast<std::int64_t>(*back.seconds * 1e9));
    add("<line class=\"back\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", x, x, latency.top,
        latency.bottom + strip_height + 3);
    add("<text class=\"back-text\" x=\"{:.1f}\" y=\"{:.1f}\">back after {}</text>",
        std::min(x + 4, time_.right - 120), latency.top + 10, text::seconds(*back.seconds));
  }

  std::vector<AlertLane> lanes() const {
    std::vector<AlertLane> out;
    for (auto& alert : verdict_.alerts)
      out.push_back({alert.story ? &stories_.at(*alert.story) : nullptr, &alert});
    return out;
  }

  void alerts() {
    const auto all = lanes();
    for (std::size_t i = 0; i < all.size() && i < most_alerts; ++i)
      alert_lane(all[i]);
    if (all.size() <= most_alerts) return;
    add("<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">{} more alerts in the table below</text>", gutter,
        y_ + 12, all.size() - most_alerts);
    y_ += 20;
  }

  void alert_lane(const AlertLane& lane) {
    const double middle = y_ + lane_height / 2 + 2;
    const auto squad = lane.verdict->labels.find("squad");
    name(middle - 1, lane.verdict->alert,
         fmt::format("{}{}", to_string(lane.verdict->outcome),
                     squad == lane.verdict->labels.end() ? "" : ", squad " + squad->second));
    add("<line class=\"rail\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", time_.left,
        time_.right, middle, middle);
    if (lane.story) states(*lane.story, middle);
    deadline(*lane.verdict, middle);
    y_ += lane_height + 12;
  }

  void state(std::string_view kind, std::int64_t from_t, std::int64_t to_t, double middle) {
    if (to_t <= time_.from_t) return;
    const double from = time_.x(from_t), to = std::max(time_.x(to_t), from + 2);
    add("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"14\" rx=\"2\"><title>{} from "
        "{} to {}</title></rect>",
        kind, from, middle - 7, to - from, kind, offset(from_t), offset(to_t));
  }

  void states(const AlertStory& story, double middle) {
    for (auto& episode : story.episodes) {
      const auto over = episode.resolved_t.value_or(record_.last_t);
      if (episode.pending_t) state("pending", *episode.pending_t, episode.firing_t.value_or(over), middle);
      if (episode.firing_t) state("firing", *episode.firing_t, over, middle);
    }
    for (auto& sent : story.notifications) {
      const double x = time_.x(sent.t);
      const auto whom = sent.squad.empty() ? sent.receiver : sent.squad;
      add("<path class=\"{}\" d=\"M{:.1f},{:.1f} l6,7 l-6,7 l-6,-7 Z\"><title>{} {} at {}</title></path>",
          sent.resolved ? "told-resolved" : "told", x, middle - 7,
          sent.resolved ? "resolution sent to" : "sent to", xml(whom), offset(sent.t));
    }
  }

  void deadline(const AlertVerdict& alert, double middle) {
    if (!alert.expected) return;
    for (auto& e : record_.scenario.expect) {
      if (e.alert != alert.alert || !e.fires_within || !record_.fault_window()) continue;
      const double x = time_.x(zero_ + e.fires_within->ns);
      add("<line class=\"deadline\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"><title>must fire "
          "by {}</title></line>",
          x, x, middle - 12, middle + 12, offset(zero_ + e.fires_within->ns));
      return;
    }
  }

  void axis() {
    axis_y_ = y_ + 2;
    add("<line class=\"axis\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", time_.left,
        time_.right, axis_y_, axis_y_);
    for (auto t : time_.ticks(zero_, 12)) {
      const double x = time_.x(t);
      add("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", x, x, axis_y_,
          axis_y_ + 5);
      const auto s = (t - zero_) / 1'000'000'000;
      const auto size = std::abs(s);
      const auto label = size < 120 ? fmt::format("{}{} s", s < 0 ? "−" : "", size)
                                    : fmt::format("{}{}:{:02} min", s < 0 ? "−" : "", size / 60, size % 60);
      add("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, axis_y_ + 19,
          x > time_.right - 16 ? "end" : "middle", label);
    }
    add("<text class=\"small\" x=\"0\" y=\"{:.1f}\">{}</text>", axis_y_ + 19,
        record_.fault_window() ? "since the first fault" : "since the start");
    add("<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">0 s is {}</text>", time_.left, axis_y_ + 37,
        text::clock(record_.wall_ns(zero_)));
    y_ = axis_y_ + 44;
  }

  // The same figures, in slices that a person can read through.
  std::string table() const {
    std::string out =
        "<table><caption>Latency and failures over time</caption><thead><tr><th scope=\"col\">From</th>";
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      out += fmt::format("<th scope=\"col\">{}: median, slowest, failed</th>",
                         xml(name_of(*panels_[i].service, *panels_[i].probe)));
    out += "</tr></thead><tbody>\n";
    const auto slice = bucket_width(time_.to_t - time_.from_t, 4 * most_table_rows, most_table_rows);
    std::vector<Buckets> coarse;
    for (auto& samples : samples_)
      coarse.push_back(thin_out(samples, time_.from_t, time_.to_t, slice));
    if (coarse.empty()) return "";
    for (std::size_t row = 0; row < coarse.front().buckets.size(); ++row) {
      out += fmt::format("<tr><th scope=\"row\">{}</th>", offset(coarse.front().buckets[row].from_t));
      for (auto& service : coarse) {
        auto& bucket = service.buckets[row];
        out += fmt::format(
            "<td>{}</td>",
            !bucket.probes
                ? std::string("no probe")
                : fmt::format("{}, {}, {} of {}", bucket.p50_ms ? text::milliseconds(*bucket.p50_ms) : "–",
                              bucket.slowest_ms ? text::milliseconds(*bucket.slowest_ms) : "–", bucket.failed,
                              bucket.probes));
      }
      out += "</tr>\n";
    }
    return out + "</tbody></table>";
  }

  std::string data() const {
    json::array services, alerts;
    auto rounded = [](const std::optional<double>& v) {
      return v ? json::value(std::round(*v * 100) / 100) : json::value{};
    };
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      json::array p50, slowest, failed, probes;
      for (auto& bucket : buckets_[i].buckets) {
        p50.push_back(rounded(bucket.p50_ms));
        slowest.push_back(rounded(bucket.slowest_ms));
        failed.push_back(bucket.failed);
        probes.push_back(bucket.probes);
      }
      services.push_back(json::object{{"name", name_of(*panels_[i].service, *panels_[i].probe)},
                                      {"p50", p50},
                                      {"slowest", slowest},
                                      {"failed", failed},
                                      {"probes", probes}});
    }
    auto seconds_of = [&](std::int64_t t) { return static_cast<double>(t - zero_) / 1e9; };
    for (auto& lane : lanes()) {
      if (!lane.story || alerts.size() >= most_alerts) continue;
      json::array spans;
      for (auto& episode : lane.story->episodes) {
        const auto over = episode.resolved_t.value_or(record_.last_t);
        if (episode.pending_t)
          spans.push_back(json::array{seconds_of(*episode.pending_t),
                                      seconds_of(episode.firing_t.value_or(over)), "pending"});
        if (episode.firing_t)
          spans.push_back(json::array{seconds_of(*episode.firing_t), seconds_of(over), "firing"});
      }
      alerts.push_back(json::object{{"name", lane.verdict->alert}, {"spans", spans}});
    }
    const auto slice = buckets_.empty() ? 1'000'000'000 : buckets_.front().width_ns;
    return json::serialize(json::object{{"left", time_.left},
                                        {"right", time_.right},
                                        {"width", width},
                                        {"from", seconds_of(time_.from_t)},
                                        {"to", seconds_of(time_.to_t)},
                                        {"slice", static_cast<double>(slice) / 1e9},
                                        {"services", services},
                                        {"alerts", alerts}});
  }

  const RunRecord& record_;
  const Verdict& verdict_;
  std::vector<AlertStory> stories_;
  TimeScale time_;
  std::int64_t zero_ = 0;
  double y_ = 0, band_bottom_ = 0, axis_y_ = 0;
  std::string body_;
  std::vector<Panel> panels_;
  std::vector<std::vector<ServiceSample>> samples_;
  std::vector<Buckets> buckets_;
};

}  // namespace

Timeline draw_timeline(const RunRecord& record, const Verdict& verdict) {
  return Drawing{record, verdict}.draw();
}

}  // namespace squall
