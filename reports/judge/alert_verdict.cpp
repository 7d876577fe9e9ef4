#include "reports/judge/alert_verdict.hpp"

#include <algorithm>
#include <set>

#include "reports/judge/alert_delivery.hpp"
#include "reports/judge/alert_sight.hpp"
#include "reports/record/text.hpp"

namespace squall {
namespace {

// The times that everything about alerts counts from.
struct Frame {
  std::int64_t first_fault = 0;
  std::int64_t error = 0;  // of the faults' times, either way, by their hosts' clocks
  std::optional<std::int64_t> faults_ended;
  std::int64_t end = 0;
  double after_first(std::int64_t t) const { return static_cast<double>(t - first_fault) / 1e9; }
  double after_last(std::int64_t t) const { return static_cast<double>(t - *faults_ended) / 1e9; }
};

// A moment beside a point of the time line that is itself known within `error`: nobody decides within what is
// uncertain.
enum class Order { before, after, unclear };

Order order(const Instant& moment, std::int64_t point, std::int64_t error) {
  if (moment.late_t < point - error) return Order::before;
  // Where the clock is not known, its word is taken for what no deadline hangs on.
  if ((moment.known ? moment.early_t : moment.t) >= point + error) return Order::after;
  return Order::unclear;
}

std::optional<Frame> frame_of(const RunRecord& record) {
  const auto window = record.fault_window();
  if (!window) return std::nullopt;
  std::int64_t error = 0;
  for (auto& fault : record.faults)
    if (fault.applied_t) error = std::max(error, fault.clock_error_ns);
  return Frame{window->start_t, error, record.faults_ended_t(), record.last_t};
}

bool carries(const std::map<std::string, std::string>& labels,
             const std::map<std::string, std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](auto& label) {
    auto found = labels.find(label.first);
    return found != labels.end() && found->second == label.second;
  });
}

// By the rule's labels, or by those that Alertmanager has it under.
bool carries(const AlertStory& story, const std::map<std::string, std::string>& wanted) {
  return carries(story.labels, wanted) ||
         (!story.labels_there.empty() && carries(story.labels_there, wanted));
}

// The first time that it fired after the first fault began.
const AlertEpisode* fired_episode(const AlertStory& story, const Frame& frame) {
  for (auto& episode : story.episodes)
    if (episode.firing_t && order(episode.firing, frame.first_fault, frame.error) == Order::after)
      return &episode;
  return nullptr;
}

// It was firing when the first fault began.
const AlertEpisode* earlier_episode(const AlertStory& story, const Frame& frame) {
  for (auto& episode : story.episodes)
    if (episode.firing_t && order(episode.firing, frame.first_fault, frame.error) == Order::before &&
        (!episode.resolved_t || *episode.resolved_t >= frame.first_fault))
      return &episode;
  return nullptr;
}

// Nobody can tell whether it fired before or after that.
const AlertEpisode* unclear_episode(const AlertStory& story, const Frame& frame) {
  for (auto& episode : story.episodes)
    if (episode.firing_t && order(episode.firing, frame.first_fault, frame.error) == Order::unclear)
      return &episode;
  return nullptr;
}

const AlertEpisode* pending_episode(const AlertStory& story, const Frame& frame) {
  for (auto& episode : story.episodes)
    if (episode.pending_t && !episode.firing_t && *episode.pending_t >= frame.first_fault) return &episode;
  return nullptr;
}

// What all instances of an expected alert did together.
struct Gathered {
  std::vector<std::size_t> stories;
  std::optional<std::size_t> first;  // the one that fired first
  std::optional<std::int64_t> pending_t, firing_t, resolved_t, notified_t;
  Instant firing, resolved;
  bool unresolved = false, preexisting = false, pending_before = false;
  const AlertEpisode* unclear = nullptr;
  std::vector<FiredSpan> fired;
  std::string forgotten;  // why its end may have been lost
  std::vector<std::string> reached;
  std::map<std::string, std::int64_t> reached_at;
};

void gather(Gathered& out, const AlertStory& story, std::size_t index, const Frame& frame) {
  out.stories.push_back(index);
  if (earlier_episode(story, frame)) out.preexisting = true;
  if (auto* pending = pending_episode(story, frame))
    out.pending_t = std::min(out.pending_t.value_or(*pending->pending_t), *pending->pending_t);
  if (auto* unclear = unclear_episode(story, frame)) out.unclear = unclear;
  auto* fired = fired_episode(story, frame);
  if (!fired) return;
  if (!out.firing_t || *fired->firing_t < *out.firing_t) {
    out.first = index;
    out.firing_t = fired->firing_t;
    out.firing = fired->firing;
    out.pending_before =
        fired->pending_t && order(fired->pending, frame.first_fault, frame.error) != Order::after;
    if (fired->pending_t) out.pending_t = fired->pending_t;
  }
  auto& last = story.episodes.back();
  if (last.resolved_t) {
    if (!out.resolved_t || *last.resolved_t > *out.resolved_t) out.resolved = last.resolved;
    out.resolved_t = std::max(out.resolved_t.value_or(*last.resolved_t), *last.resolved_t);
  } else if (last.firing_t) {
    out.unresolved = true;
  }
  out.fired.push_back({&story, *fired->firing_t, fired->resolved_t.value_or(frame.end)});
  for (auto& notification : story.notifications) {
    if (notification.resolved || notification.t < fired->firing.early_t) continue;
    const auto whom = notification.squad.empty() ? notification.receiver : notification.squad;
    out.notified_t = std::min(out.notified_t.value_or(notification.t), notification.t);
    auto [at, fresh] = out.reached_at.emplace(whom, notification.t);
    if (fresh) out.reached.push_back(whom);
    at->second = std::min(at->second, notification.t);
  }
}

void fill(AlertVerdict& out, const Gathered& all, const Frame& frame) {
  out.fired = all.firing_t.has_value();
  out.story = all.first ? all.first : all.stories.empty() ? std::nullopt : std::optional{all.stories.front()};
  if (all.pending_t) out.pending_after_s = frame.after_first(*all.pending_t);
  if (all.firing_t) out.fired_after_s = frame.after_first(*all.firing_t);
  if (all.notified_t) out.notified_after_s = frame.after_first(*all.notified_t);
  if (all.resolved_t && !all.unresolved && frame.faults_ended)
    out.resolved_after_s = frame.after_last(*all.resolved_t);
  out.reached = all.reached;
}

class ExpectedAlert {
 public:
  ExpectedAlert(const RunRecord& record, const std::vector<AlertStory>& stories,
                const Expectation& expectation, const Frame& frame)
      : record_(record), stories_(stories), wanted_(expectation), frame_(frame) {
    for (std::size_t i = 0; i < stories.size(); ++i)
      if (stories[i].alert == *wanted_.alert && carries(stories[i], wanted_.labels))
        gather(all_, stories[i], i, frame);
    for (auto& one : all_.fired)
      if (all_.forgotten.empty()) all_.forgotten = forgotten(record, *one.story, one.from_t);
  }

  AlertVerdict judge() {
    out_.alert = *wanted_.alert;
    out_.expected = true;
    fill(out_, all_, frame_);
    out_.labels = out_.story ? stories_[*out_.story].labels : wanted_.labels;
    if (!all_.firing_t)
      not_fired();
    else if (all_.pending_before)
      decide(AlertOutcome::preexisting, fmt::format("fired {} after the first fault, but was pending before "
                                                    "it, so it cannot tell that it noticed this one",
                                                    after_first(*all_.firing_t)));
    else if (auto lateness = deadline() ? order(all_.firing, *deadline() + 1, frame_.error) : Order::before;
             lateness == Order::before)
      in_time();
    else if (lateness == Order::after && all_.firing.known)
      decide(AlertOutcome::late,
             fmt::format("fired {} after the first fault, {} too late", after_first(*all_.firing_t),
                         text::seconds(static_cast<double>(*all_.firing_t - *deadline()) / 1e9)));
    else
      decide(AlertOutcome::unseen,
             fmt::format("fired {} after the first fault, which the expected {} cannot be told from: {}",
                         after_first(*all_.firing_t), squall::to_string(*wanted_.fires_within),
                         how_well(all_.firing)));
    return std::move(out_);
  }

  const std::vector<std::size_t>& stories() const { return all_.stories; }

 private:
  std::optional<std::int64_t> deadline() const {
    if (!wanted_.fires_within) return std::nullopt;
    return frame_.first_fault + wanted_.fires_within->ns;
  }
  std::string after_first(std::int64_t t) const { return text::seconds(frame_.after_first(t)); }

  void decide(AlertOutcome outcome, std::string text) {
    out_.outcome = outcome;
    out_.text = std::move(text);
  }

  std::string how_well(const Instant& moment) const {
    if (!moment.known) return "the clock that says so could not be compared with ours";
    return fmt::format("it is known within {}",
                       text::seconds(static_cast<double>(moment.error_ns() + 2 * frame_.error) / 1e9));
  }

  void not_fired() {
    if (all_.preexisting)
      return decide(AlertOutcome::preexisting,
                    "was firing before the first fault, so it cannot tell that it noticed this one");
    if (all_.unclear)
      return decide(
          AlertOutcome::unseen,
          fmt::format("fired, but whether that was before or after the first fault cannot be told: {}",
                      how_well(all_.unclear->firing)));
    if (const auto* other = other_labels()) {
      const bool squad = wanted_.labels.contains("squad") && other->labels.contains("squad") && [&] {
        auto rest = wanted_.labels;
        rest.erase("squad");
        return carries(other->labels, rest);
      }();
      return decide(squad ? AlertOutcome::wrong_squad : AlertOutcome::missing,
                    fmt::format("fired only with other labels: {}, expected {}",
                                text::labels(other->labels, "alertname"), text::labels(wanted_.labels)));
    }
    const auto until = std::min(frame_.end, deadline().value_or(frame_.end));
    if (auto why = blind_to_firing(record_, frame_.first_fault, until); !why.empty())
      return decide(AlertOutcome::unseen, "was not seen to fire, but could not be seen: " + why);
    if (deadline() && frame_.end < *deadline())
      return decide(AlertOutcome::unseen,
                    fmt::format("did not fire, but was watched for only {} of {}", after_first(frame_.end),
                                squall::to_string(*wanted_.fires_within)));
    const auto pending = all_.pending_t
                             ? fmt::format("; it was pending from {} on", after_first(*all_.pending_t))
                             : std::string();
    decide(AlertOutcome::missing,
           fmt::format("did not fire in the {} after the first fault{}", after_first(frame_.end), pending));
  }

  const AlertStory* other_labels() const {
    for (auto& story : stories_)
      if (story.alert == *wanted_.alert && !carries(story, wanted_.labels) && fired_episode(story, frame_))
        return &story;
    return nullptr;
  }

  void in_time() {
    std::string text = fmt::format("fired {} after the first fault", after_first(*all_.firing_t));
    if (wanted_.reaches && !reached(text)) return;
    if (!wanted_.reaches && !all_.reached.empty()) text += ", reached " + text::join(all_.reached);
    if (auto kept = kept_from("", record_, stories_, all_.fired);
        kept && kept->outcome == AlertOutcome::silenced)
      text += ", was silenced";
    else if (kept && kept->outcome == AlertOutcome::inhibited)
      text += ", was inhibited";
    out_.in_time = true;
    decide(AlertOutcome::caught, text);
    if (frame_.faults_ended) resolved(text);
  }

  // Adds whom it reached; false where that decides the outcome.
  bool reached(std::string& text) {
    if (auto at = all_.reached_at.find(*wanted_.reaches); at != all_.reached_at.end()) {
      text += fmt::format(", reached {} after {}", *wanted_.reaches, after_first(at->second));
      std::vector<std::string> others;
      for (auto& whom : all_.reached)
        if (whom != *wanted_.reaches) others.push_back(whom);
      if (!others.empty()) text += ", and also " + text::join(others);
      return true;
    }
    if (!all_.reached.empty())
      decide(AlertOutcome::wrong_squad, fmt::format("{}, but reached {} instead of {}", text,
                                                    text::join(all_.reached), *wanted_.reaches));
    else if (auto kept = kept_from(*wanted_.reaches, record_, stories_, all_.fired))
      decide(kept->outcome, text + kept->text);
    else if (!has_source(record_, "webhook") && !routed_to(all_.fired).empty())
      return text +=
             fmt::format(", routed to {} by Alertmanager (whether it was delivered only a webhook can see)",
                         *wanted_.reaches),
             true;
    else if (auto why = blind(record_, {"webhook"}, *all_.firing_t, frame_.end); !why.empty())
      decide(AlertOutcome::unseen,
             fmt::format("{}, but whom it reached could not be seen: {}", text,
                         has_source(record_, "webhook")
                             ? why
                             : "no webhook is declared, and Alertmanager told no receiver"));
    else
      decide(AlertOutcome::wrong_squad,
             fmt::format("{}, but reached nobody instead of {}", text, *wanted_.reaches));
    return false;
  }

  void resolved(std::string text) {
    const auto limit = wanted_.resolves_within;
    if (out_.resolved_after_s) {
      text += *out_.resolved_after_s < 0 ? ", resolved before the last fault's end"
                                         : fmt::format(", resolved {} after the last fault's end",
                                                       text::seconds(*out_.resolved_after_s));
      const auto lateness =
          limit ? order(all_.resolved, *frame_.faults_ended + limit->ns + 1, frame_.error) : Order::before;
      if (lateness == Order::before) return decide(AlertOutcome::caught, text);
      if (lateness == Order::after && all_.resolved.known)
        return decide(AlertOutcome::unresolved, text + ", too late");
      return decide(AlertOutcome::unseen,
                    fmt::format("{}, which the expected {} cannot be told from: {}", text,
                                squall::to_string(*limit), how_well(all_.resolved)));
    }
    text += fmt::format(", not resolved in the {} watched after the last fault's end",
                        text::seconds(frame_.after_last(frame_.end)));
    if (!limit) return decide(AlertOutcome::caught, text);
    if (!all_.forgotten.empty())
      return decide(AlertOutcome::unseen, fmt::format("{}, but {}", text, all_.forgotten));
    decide(frame_.end >= *frame_.faults_ended + limit->ns ? AlertOutcome::unresolved : AlertOutcome::unseen,
           text);
  }

  const RunRecord& record_;
  const std::vector<AlertStory>& stories_;
  const Expectation& wanted_;
  const Frame& frame_;
  Gathered all_;
  AlertVerdict out_;
};

AlertVerdict not_run(const Expectation& expectation) {
  AlertVerdict out;
  out.alert = *expectation.alert;
  out.labels = expectation.labels;
  out.expected = true;
  out.outcome = AlertOutcome::unseen;
  out.text = "no fault was applied";
  return out;
}

std::optional<AlertVerdict> unasked(const RunRecord& record, const AlertStory& story, std::size_t index,
                                    const Frame& frame, bool none_may_fire) {
  Gathered all;
  gather(all, story, index, frame);
  if (!all.firing_t && !all.preexisting && !all.unclear) return std::nullopt;
  AlertVerdict out;
  out.alert = story.alert;
  out.labels = story.labels;
  fill(out, all, frame);
  if (!all.firing_t) {
    out.outcome = all.preexisting ? AlertOutcome::preexisting : AlertOutcome::unseen;
    out.text = all.preexisting ? "was firing before the first fault"
                               : "fired, but whether that was before or after the first fault cannot be told";
    return out;
  }
  if (all.pending_before && !none_may_fire) {
    out.outcome = AlertOutcome::preexisting;
    out.text = fmt::format("fired {} after the first fault, was pending before it",
                           text::seconds(*out.fired_after_s));
    return out;
  }
  out.outcome = none_may_fire ? AlertOutcome::unexpected : AlertOutcome::other;
  out.text = fmt::format("fired {} after the first fault", text::seconds(*out.fired_after_s));
  if (!out.reached.empty())
    out.text += ", reached " + text::join(out.reached);
  else if (blind(record, {"webhook"}, *all.firing_t, frame.end).empty())
    out.text += ", reached nobody";  // else nobody looked
  return out;
}

}  // namespace

std::string_view to_string(AlertOutcome outcome) {
  switch (outcome) {
    case AlertOutcome::caught:
      return "caught";
    case AlertOutcome::missing:
      return "missing";
    case AlertOutcome::late:
      return "late";
    case AlertOutcome::wrong_squad:
      return "wrong squad";
    case AlertOutcome::unresolved:
      return "unresolved";
    case AlertOutcome::preexisting:
      return "preexisting";
    case AlertOutcome::silenced:
      return "silenced";
    case AlertOutcome::inhibited:
      return "inhibited";
    case AlertOutcome::unexpected:
      return "unexpected";
    case AlertOutcome::other:
      return "other";
    case AlertOutcome::unseen:
      return "undecided";
  }
  return "?";
}

std::vector<AlertVerdict> judge_alerts(const RunRecord& record, const std::vector<AlertStory>& stories) {
  std::vector<AlertVerdict> out;
  const auto frame = frame_of(record);
  std::set<std::size_t> told;
  bool none_may_fire = false;
  for (auto& expectation : record.scenario.expect) {
    none_may_fire = none_may_fire || expectation.other_alerts == "none";
    if (!expectation.alert) continue;
    if (!frame) {
      out.push_back(not_run(expectation));
      continue;
    }
    ExpectedAlert expected{record, stories, expectation, *frame};
    out.push_back(expected.judge());
    told.insert(expected.stories().begin(), expected.stories().end());
  }
  if (!frame) return out;
  for (std::size_t i = 0; i < stories.size(); ++i)
    if (!told.contains(i))
      if (auto other = unasked(record, stories[i], i, *frame, none_may_fire))
        out.push_back(std::move(*other));
  return out;
}

std::string cannot_see_alerts(const RunRecord& record) {
  const auto frame = frame_of(record);
  return frame ? blind_to_firing(record, frame->first_fault, frame->end) : "no fault was applied";
}

AlertScore score(const std::vector<AlertVerdict>& alerts) {
  AlertScore out;
  std::set<std::string> unexpected;
  std::int64_t fired = 0;
  double detection = 0;
  for (auto& alert : alerts) {
    if (!alert.expected) {
      if (alert.outcome == AlertOutcome::unexpected) unexpected.insert(alert.alert);
      continue;
    }
    ++out.expected;
    const bool undecided =
        alert.outcome == AlertOutcome::unseen || (alert.outcome == AlertOutcome::preexisting && alert.fired);
    if (alert.in_time)
      ++out.caught;
    else if (!undecided)
      ++out.missed;
    if (!alert.fired || alert.outcome == AlertOutcome::preexisting) continue;
    ++fired;
    detection += *alert.fired_after_s;
  }
  out.unexpected = static_cast<std::int64_t>(unexpected.size());
  if (fired + out.unexpected)
    out.precision = static_cast<double>(fired) / static_cast<double>(fired + out.unexpected);
  if (out.caught + out.missed)
    out.recall = static_cast<double>(out.caught) / static_cast<double>(out.caught + out.missed);
  if (fired) out.mean_detection_s = detection / static_cast<double>(fired);
  return out;
}

}  // namespace squall
