#include "quant/integer_graph.h"

#include <algorithm>
#include <numeric>

#include "quant/activation_range.h"

namespace yoloquant::quant {
namespace {

// silu(-6) = -0.015: below, an 8-bit step behind SiLU (of a range of 4 and more) tells nothing
// apart.
constexpr double kSiluTail = 6;
// Inputs of a Concat share its output's scale unless that left one of them less than 6 of 8 bits.
constexpr double kLeastShare = 0.25;

double width(const ActivationRange& range) { return range.high - range.low; }

// Sets of values with one quantizer.
class Groups {
 public:
  explicit Groups(size_t count) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), size_t{0});
  }
  size_t find(size_t i) const {
    while (parent_[i] != i) i = parent_[i];
    return i;
  }
  void unite(const std::vector<size_t>& members) {
    for (const size_t member : members) parent_[find(member)] = find(members.front());
  }

 private:
  std::vector<size_t> parent_;
};

Groups shared_groups(const IntegerPlan& plan, const std::vector<ActivationRange>& ranges) {
  Groups groups(plan.values.size());
  for (const auto& members : plan.shared) groups.unite(members);
  for (const auto& members : plan.concats) {
    const double widest = width(ranges[members.back()]);  // of the output
    const bool alike = std::ranges::all_of(
        members, [&](size_t i) { return width(ranges[i]) >= kLeastShare * widest; });
    if (alike) groups.unite(members);
  }
  return groups;
}

}  // namespace

graph::Graph integer_graph(const graph::Graph& annotated, const QuantizationConfig& config,
                           CalibrationData& images, const CalibrationOptions& options,
                           Progress& progress) {
  IntegerPlan plan = plan_integers(annotated);
  const LayerSettings settings = settings_for(config, "");
  const ActivationStatistics seen =
      observe_values(plan.graph, plan.values, images, options, needs_histogram(settings), progress);
  std::vector<ActivationRange> ranges;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    ActivationRange range = activation_range(seen.at(plan.values[i]), settings);
    if (plan.before_silu[i]) range.low = std::max(range.low, -kSiluTail);
    if (plan.sigmoid[i]) range = {0, 1};
    ranges.push_back(range);
  }
  const Groups groups = shared_groups(plan, ranges);
  std::vector<ActivationRange> joined(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    ActivationRange& range = joined[groups.find(i)];
    range.low = std::min(range.low, ranges[i].low);
    range.high = std::max(range.high, ranges[i].high);
  }
  for (size_t i = 0; i < ranges.size(); ++i) {
    plan.graph.value_quantization[plan.values[i]] =
        activation_quantizer(joined[groups.find(i)], settings.activation_bits, settings.symmetric);
  }
  return std::move(plan.graph);
}

}  // namespace yoloquant::quant
