#include "quant/integer_graph.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "quant/activation_range.h"
#include "quant/range_choice.h"

namespace yoloquant::quant {
namespace {

// silu(-6) = -0.015: below, an 8-bit step behind SiLU (of a range of 4 and more) tells nothing
// apart.
constexpr double kSiluTail = 6;
// Inputs of a Concat share its output's scale unless that left one of them less than 6 of 8 bits.
constexpr double kLeastShare = 0.25;

// SiLU bends between -3 and 3. A conv whose result is so wide that fewer than 32 codes fall there
// is too coarse for it.
constexpr double kSiluBend = 6;
constexpr double kLeastSiluCodes = 24;

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

// Of each value by itself.
std::map<std::string, ActivationRange> value_ranges(const IntegerPlan& plan,
                                                    const LayerSettings& settings,
                                                    CalibrationData& images,
                                                    const RangeChoiceOptions& options,
                                                    Progress& progress) {
  const bool choose = settings.activation_range == RangeMethod::kChosen &&
                      images.size() >= kLeastImagesToChooseRanges;
  CalibrationOptions calibration = options.calibration;
  if (choose) calibration.max_images = images_that_propose(images.size());
  const ActivationStatistics seen = observe_values(plan.graph, plan.values, images, calibration,
                                                   choose || needs_histogram(settings), progress);
  std::map<std::string, ActivationRange> ranges;
  if (choose) {
    std::vector<RangeSite> sites;
    for (size_t id = 0; id < plan.graph.values.size(); ++id) {
      const std::string& name = plan.graph.values[id].name;
      if (!seen.contains(name)) continue;
      sites.push_back(
          {name, static_cast<graph::ValueId>(id), settings.activation_bits, settings.symmetric});
    }
    ranges = choose_ranges(plan.graph, sites, seen, images, options, progress);
  }
  for (const auto& [name, observer] : seen) {
    ranges.try_emplace(name, activation_range(observer, settings));
  }
  return ranges;
}

// Convs in front of a SiLU that would get too few codes.
std::set<std::string> too_coarse(const IntegerPlan& plan,
                                 const std::map<std::string, ActivationRange>& ranges, int bits) {
  std::set<std::string> values;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    if (!plan.before_silu[i]) continue;
    const double high = ranges.at(plan.values[i]).high;
    const double codes = kSiluBend / (high + kSiluTail) * std::exp2(bits);
    if (codes < kLeastSiluCodes) values.insert(plan.values[i]);
  }
  std::set<std::string> convs;
  for (const graph::Node& node : plan.graph.nodes) {
    const auto output = static_cast<size_t>(node.outputs.at(0));
    if (std::holds_alternative<graph::Conv>(node.op) &&
        values.contains(plan.graph.values[output].name)) {
      convs.insert(node.name);
    }
  }
  return convs;
}

// The plan with these convs left float.
IntegerPlan plan_without(graph::Graph annotated, const std::set<std::string>& convs) {
  for (const std::string& conv : convs) annotated.quantization.at(conv).input.reset();
  return plan_integers(annotated);
}

}  // namespace

graph::Graph integer_graph(const graph::Graph& annotated, const QuantizationConfig& config,
                           CalibrationData& images, const RangeChoiceOptions& options,
                           Progress& progress) {
  IntegerPlan plan = plan_integers(annotated);
  const LayerSettings settings = settings_for(config, "");
  const auto found = value_ranges(plan, settings, images, options, progress);
  const std::set<std::string> coarse = too_coarse(plan, found, settings.activation_bits);
  if (!coarse.empty()) plan = plan_without(annotated, coarse);
  std::vector<ActivationRange> ranges;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    ActivationRange range = found.at(plan.values[i]);
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
