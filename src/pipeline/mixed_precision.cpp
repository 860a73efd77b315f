#include "pipeline/mixed_precision.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "quant/bit_allocation.h"

namespace yoloquant::pipeline {
namespace {

using quant::BitChoice;
using quant::LayerChoices;

constexpr int kFloatBits = 32;
// What bits can be chosen from.
const std::vector<int> kChoices{3, 4, 6, 8};

// The bits that a rule sets for the conv, if one does.
std::optional<int> bits_by_rule(const quant::QuantizationConfig& config, const std::string& conv) {
  std::optional<int> bits;
  for (const quant::LayerRule& rule : config.rules) {
    if (rule.overrides.weight_bits && quant::rule_matches(rule, conv)) {
      bits = rule.overrides.weight_bits;
    }
  }
  return bits;
}

// Bits of the codes, which are fewer than asked for where the weight is exact (DFL).
int code_bits(const quant::Variant& variant) {
  const auto& quantizer = variant.changes.begin()->second.weight;
  return quantizer ? quantizer->bits : kFloatBits;
}

class Choices {
 public:
  Choices(const graph::Graph& inference, const quant::QuantizationConfig& config,
          const std::vector<MeasuredBits>& measured) {
    std::map<std::string, std::vector<MeasuredBits>> by_conv;
    for (const MeasuredBits& entry : measured) by_conv[entry.variant->name].push_back(entry);
    for (const std::string& conv : graph::conv_names(inference)) {
      const int64_t weights = inference.parameter(conv + ".weight").size();
      weights_.push_back(weights);
      const quant::LayerSettings settings = quant::settings_for(config, conv);
      LayerChoices layer{conv, {}};
      if (settings.skip) {
        layer.choices.push_back({0, kFloatBits * weights, 0});
      } else {
        add_measured(by_conv[conv], bits_by_rule(config, conv), weights, layer);
      }
      if (layer.choices.empty()) {
        // Fixed at bits that were not measured: the same in every allocation.
        const int bits = bits_by_rule(config, conv).value_or(settings.weight_bits);
        layer.choices.push_back({bits, bits * weights, 0});
      }
      layers_.push_back(std::move(layer));
    }
  }

  const std::vector<LayerChoices>& layers() const { return layers_; }
  int64_t weights(size_t layer) const { return weights_[layer]; }
  double all_weights() const {
    double sum = 0;
    for (const int64_t count : weights_) sum += static_cast<double>(count);
    return sum;
  }

  // All layers at the bits, where they can be.
  std::optional<report::BitPoint> uniform(int bits) const {
    double size = 0;
    double harm = 0;
    for (const LayerChoices& layer : layers_) {
      const auto found = std::ranges::find(layer.choices, bits, &BitChoice::bits);
      if (found == layer.choices.end() && layer.choices.size() > 1) return std::nullopt;
      const BitChoice& choice = found == layer.choices.end() ? layer.choices[0] : *found;
      size += static_cast<double>(choice.size);
      harm += choice.harm;
    }
    return report::BitPoint{size / all_weights(), harm, fmt::format("{} bits", bits)};
  }

 private:
  static void add_measured(const std::vector<MeasuredBits>& measured, std::optional<int> fixed,
                           int64_t weights, LayerChoices& layer) {
    for (const MeasuredBits& entry : measured) {
      const int bits = entry.variant->bits;
      if (bits == 0 || (fixed && bits != *fixed)) continue;
      layer.choices.push_back({bits, code_bits(*entry.variant) * weights, entry.harm});
    }
  }

  std::vector<LayerChoices> layers_;
  std::vector<int64_t> weights_;
};

quant::Allocation allocate(const Choices& choices, const BitBudget& budget) {
  if (budget.max_harm) return quant::least_size(choices.layers(), *budget.max_harm);
  const double all = choices.all_weights();
  const double bits = budget.mean_bits ? *budget.mean_bits * all : *budget.bytes * 8;
  const quant::Allocation least = quant::best_allocations(choices.layers()).front();
  if (bits < static_cast<double>(least.size)) {
    fail_usage("the budget of {:.3g} mean bits is too small: the least is {:.3g} ({:.0f} bytes)",
               bits / all, static_cast<double>(least.size) / all,
               std::ceil(static_cast<double>(least.size) / 8));
  }
  // Beyond 64 bits a weight nothing changes, and the number stays in range.
  return quant::least_harm(choices.layers(), static_cast<int64_t>(std::min(bits, 64 * all)));
}

// All choices equal in size: the bits are not a decision.
bool is_fixed(const LayerChoices& layer) {
  return std::ranges::all_of(layer.choices,
                             [&](const BitChoice& c) { return c.size == layer.choices[0].size; });
}

}  // namespace

void BitBudget::check() const {
  const int limits = (mean_bits ? 1 : 0) + (bytes ? 1 : 0) + (max_harm ? 1 : 0);
  if (limits > 1) fail_usage("give one of --mean-bits, --size and --max-harm");
  if (mean_bits && !(*mean_bits > 0 && *mean_bits <= kFloatBits)) {
    fail_usage("--mean-bits {:g}: a number of bits between 3 and 8 is meant", *mean_bits);
  }
  if (max_harm && !(*max_harm >= 0)) fail_usage("--max-harm {:g} is negative", *max_harm);
}

double parse_byte_size(const std::string& text) {
  static const std::map<std::string, double> kUnits{
      {"", 1},     {"b", 1},      {"kb", 1e3},        {"mb", 1e6},
      {"gb", 1e9}, {"kib", 1024}, {"mib", 1048576.0}, {"gib", 1073741824.0}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit = lower(trim(std::string_view(end, text.data() + text.size())));
  if (error != std::errc() || !(number > 0) || !std::isfinite(number) || !kUnits.contains(unit)) {
    fail_usage("'{}' is no size in bytes: write 1.6MB, 800kB or 1.5MiB", text);
  }
  return number * kUnits.at(unit);
}

MixedPrecision choose_bits(const graph::Graph& inference, const quant::QuantizationConfig& config,
                           const std::vector<MeasuredBits>& measured, const BitBudget& budget) {
  budget.check();
  const Choices choices(inference, config, measured);
  const double all = choices.all_weights();
  const quant::Allocation chosen = allocate(choices, budget);
  MixedPrecision mixed;
  mixed.mean_bits = static_cast<double>(chosen.size) / all;
  mixed.bytes = (chosen.size + 7) / 8;
  mixed.harm = chosen.harm;
  mixed.gap = chosen.gap;
  std::set<int> bits;
  for (size_t i = 0; i < choices.layers().size(); ++i) {
    const LayerChoices& layer = choices.layers()[i];
    const BitChoice& choice = layer.choices[chosen.chosen[i]];
    mixed.layers.push_back(
        {layer.layer, choices.weights(i), choice.bits, choice.harm, is_fixed(layer)});
    for (const BitChoice& c : layer.choices) bits.insert(c.bits);
  }
  for (const quant::Allocation& corner : quant::best_allocations(choices.layers())) {
    mixed.best.push_back({static_cast<double>(corner.size) / all, corner.harm, ""});
  }
  for (const int b : bits) {
    if (b == 0) continue;
    if (const auto point = choices.uniform(b)) mixed.uniform.push_back(*point);
  }
  return mixed;
}

quant::QuantizationConfig with_bits(const quant::QuantizationConfig& config,
                                    const MixedPrecision& mixed) {
  quant::QuantizationConfig result = config;
  for (const MixedLayer& layer : mixed.layers) {
    if (layer.fixed || layer.bits == quant::settings_for(config, layer.conv).weight_bits) continue;
    quant::LayerOverrides overrides;
    overrides.weight_bits = layer.bits;
    result.rules.push_back({layer.conv, overrides});
  }
  return result;
}

MixedPrecision measure_and_choose_bits(const graph::Graph& inference,
                                       const quant::QuantizationConfig& config,
                                       quant::CalibrationData& images,
                                       const BitChoiceOptions& options, Progress& progress) {
  options.budget.check();
  quant::VariantOptions wanted;
  wanted.weight_bits = kChoices;
  wanted.activation_bits = {};
  wanted.blocks = false;
  wanted.calibration.device = options.replay.device;
  wanted.seed = options.seed;
  // The variants are the same ones however they are rounded; how matters only where they are
  // measured.
  if (!options.record.exists() && config.method.starts_with("gptq")) {
    wanted.rounding = quant::Rounding::kGptq;
  }
  const auto variants = quant::float_variants(inference, config, images, wanted, progress);
  std::optional<std::vector<double>> harms = options.record.read(variants.size());
  if (!harms) {
    harms.emplace();
    const auto measured =
        quant::replay(inference, inference, variants, images, options.replay, nullptr, progress);
    for (const auto& variant : measured.variants) harms->push_back(variant.harm());
    options.record.write(*harms);
  }
  std::vector<MeasuredBits> measured;
  for (size_t i = 0; i < variants.size(); ++i) measured.push_back({&variants[i], (*harms)[i]});
  return choose_bits(inference, config, measured, options.budget);
}

nlohmann::ordered_json mixed_json(const MixedPrecision& mixed) {
  auto points = [](const std::vector<report::BitPoint>& list) {
    auto json = nlohmann::ordered_json::array();
    for (const report::BitPoint& point : list) {
      json.push_back({{"mean_bits", point.mean_bits}, {"harm", point.harm}});
    }
    return json;
  };
  auto layers = nlohmann::ordered_json::array();
  for (const MixedLayer& layer : mixed.layers) {
    layers.push_back({{"conv", layer.conv},
                      {"weights", layer.weights},
                      {"bits", layer.bits},
                      {"harm", layer.harm}});
  }
  return {{"mean_bits", mixed.mean_bits},
          {"bytes", mixed.bytes},
          {"harm", mixed.harm},
          {"gap", mixed.gap},
          {"uniform", points(mixed.uniform)},
          {"best", points(mixed.best)},
          {"layers", std::move(layers)}};
}

std::string mixed_text(const MixedPrecision& mixed) {
  std::string text =
      fmt::format("mixed precision: mean {:.3f} bits ({} of codes), predicted harm {:.3g}",
                  mixed.mean_bits, human_bytes(static_cast<double>(mixed.bytes)), mixed.harm);
  for (const report::BitPoint& point : mixed.uniform) {
    text += fmt::format("; {} everywhere: {:.3g}", point.label, point.harm);
  }
  return text + "\n";
}

}  // namespace yoloquant::pipeline
