#include "quant/range_choice.h"

#include <algorithm>
#include <array>
#include <set>

#include "quant/fisher.h"

namespace yoloquant::quant {
namespace {

constexpr int64_t kMostImages = 64;  // that are run backwards
constexpr std::array kMargins{1.15, 1.3, 1.5};
// Images that choose may go beyond what those that propose have seen.
constexpr double kCovered = 1.5;
constexpr double kSiluMinimum = -0.27846455;

ActivationRange scaled(const ActivationRange& range, double factor) {
  return {range.low * factor, range.high * factor};
}

std::vector<ActivationRange> candidates(const RangeSite& site, const ActivationObserver& observer,
                                        const ValueDensity& density) {
  const ActivationRange all = minmax_range(observer);
  std::vector<ActivationRange> ranges{all, mean_minmax_range(observer)};
  ranges.push_back(percentile_range(observer, 99.999));
  ranges.push_back(mse_range(observer, site.bits, site.symmetric, {.norm = 4}));
  const ActivationRange best = mse_range(density, all, site.bits, site.symmetric);
  for (const double margin : kMargins) ranges.push_back(scaled(best, margin));
  // Behind SiLU there is nothing lower.
  const double least = all.low > kSiluMinimum * 1.01 ? kSiluMinimum : all.low * kCovered;
  for (ActivationRange& range : ranges) range.low = std::max(range.low, least);
  return ranges;
}

ActivationRange choose(const std::vector<ActivationRange>& ranges, const RangeSite& site,
                       const ValueDensity& judge) {
  return *std::ranges::min_element(ranges, {}, [&](const ActivationRange& range) {
    return mean_squared_error(judge, activation_quantizer(range, site.bits, site.symmetric));
  });
}

}  // namespace

int64_t images_that_propose(int64_t images) { return images - images / 4; }

std::map<std::string, ActivationRange> choose_ranges(const graph::Graph& graph,
                                                     const std::vector<RangeSite>& sites,
                                                     const ActivationStatistics& statistics,
                                                     CalibrationData& images,
                                                     const RangeChoiceOptions& options,
                                                     Progress& progress) {
  FisherRanges covered;
  for (const RangeSite& site : sites) {
    covered[site.value] = scaled(minmax_range(statistics.at(site.key)), kCovered);
  }
  const int64_t proposing = images_that_propose(images.size());
  const int64_t judging = std::min(images.size() - proposing, kMostImages / 4);
  const FisherDensities proposals =
      fisher_densities(graph, covered, images,
                       {.device = options.calibration.device,
                        .first = 0,
                        .last = std::min(proposing, kMostImages - judging),
                        .seed = options.seed,
                        .bfloat16 = true},
                       progress);
  const FisherDensities judges = fisher_densities(graph, covered, images,
                                                  {.device = options.calibration.device,
                                                   .first = proposing,
                                                   .last = proposing + judging,
                                                   .seed = options.seed + 1,
                                                   .bfloat16 = true},
                                                  progress);
  std::map<std::string, ActivationRange> chosen;
  for (const RangeSite& site : sites) {
    const auto proposal = proposals.find(site.value);
    const auto judge = judges.find(site.value);
    if (proposal == proposals.end() || judge == judges.end()) continue;
    chosen[site.key] =
        choose(candidates(site, statistics.at(site.key), proposal->second), site, judge->second);
  }
  return chosen;
}

void set_fixed_range(QuantizationConfig& config, const std::string& conv,
                     const ActivationRange& range) {
  const auto last = std::find_if(config.rules.rbegin(), config.rules.rend(),
                                 [&](const LayerRule& rule) { return rule_matches(rule, conv); });
  const bool is_own = last != config.rules.rend() && last->match == conv;
  LayerRule& rule =
      is_own ? *last : config.rules.emplace_back(LayerRule{.match = conv, .overrides = {}});
  rule.overrides.activation_range = RangeMethod::kFixed;
  rule.overrides.activation_low = range.low;
  rule.overrides.activation_high = range.high;
}

ConvRanges choose_conv_ranges(const graph::Graph& inference, const QuantizationConfig& config,
                              CalibrationData& images, const RangeChoiceOptions& options,
                              Progress& progress) {
  ConvRanges result{.config = config, .seen = {}};
  if (images.size() < kLeastImagesToChooseRanges) return result;
  const std::set<std::string> probabilities = convs_after_softmax(inference);
  std::vector<RangeSite> sites;
  std::vector<std::string> convs;
  for (const graph::Node& node : inference.nodes) {
    if (!std::holds_alternative<graph::Conv>(node.op)) continue;
    const LayerSettings settings = settings_for(config, node.name);
    if (!quantizes_input(settings)) continue;
    convs.push_back(node.name);
    const bool chosen = settings.activation_range == RangeMethod::kChosen;
    if (!chosen || probabilities.contains(node.name)) continue;
    sites.push_back({node.name, node.inputs.at(0), settings.activation_bits, settings.symmetric});
  }
  if (sites.empty()) return result;
  CalibrationOptions calibration = options.calibration;
  calibration.max_images = images_that_propose(images.size());
  result.seen = observe_activations(inference, convs, images, calibration, true, progress);
  const auto chosen = choose_ranges(inference, sites, result.seen, images, options, progress);
  for (const auto& [conv, range] : chosen) {
    set_fixed_range(result.config, conv, range);
  }
  calibration.first_image = calibration.max_images;
  calibration.max_images = 0;
  for (const auto& [conv, observer] :
       observe_activations(inference, convs, images, calibration, true, progress)) {
    result.seen.at(conv).merge(observer);
  }
  return result;
}

}  // namespace yoloquant::quant
