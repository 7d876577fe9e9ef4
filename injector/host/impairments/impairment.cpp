#include "injector/host/impairments/impairment.hpp"

#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scenarios/text/units.hpp"

namespace squall {

std::string to_string(const Impairment& what) {
  std::vector<std::string> parts;
  auto share = [](double part) { return fmt::format("{:.4g} %", 100 * part); };
  if (what.delay.delay_ns || !what.each_packet())
    parts.push_back(fmt::format("a delay of {:.6g} ms", static_cast<double>(what.delay.delay_ns) / 1e6));
  if (what.delay.jitter_ns)
    parts.push_back(fmt::format("a jitter of {:.6g} ms", static_cast<double>(what.delay.jitter_ns) / 1e6));
  if (what.loss) parts.push_back(share(what.loss->share()) + " lost");
  if (what.duplicate > 0) parts.push_back(share(what.duplicate) + " repeated");
  if (what.corrupt > 0) parts.push_back(share(what.corrupt) + " corrupted");
  if (what.reorder) parts.push_back(share(what.reorder->share) + " let overtake");
  if (what.rate) parts.push_back(to_string(Rate{std::llround(what.rate->bytes_per_second)}) + " at most");
  return fmt::format("{}", fmt::join(parts, ", "));
}

FateSampler::FateSampler(const Impairment& shape, std::uint64_t seed)
    : shape_(shape), random_(seed ^ 0x9e3779b97f4a7c15) {
  if (shape.loss) loss_.emplace(*shape.loss, seed);
}

Fate FateSampler::next(double level) {
  Fate out;
  out.lost = loss_ && loss_->next(level);
  out.duplicated = chance(shape_.duplicate * level);
  out.corrupted = chance(shape_.corrupt * level);
  // Both: one came twice and one of the two was lost (netem_enqueue in net/sched/sch_netem.c).
  if (out.lost && out.duplicated) out.lost = out.duplicated = false;
  if (shape_.reorder && ++since_ >= shape_.reorder->gap && chance(shape_.reorder->share * level)) {
    out.at_once = true;
    since_ = 0;
  }
  return out;
}

}  // namespace squall
