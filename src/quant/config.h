#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/scheme.h"

// What is quantized how: a scheme, defaults, and rules for single layers.
namespace yoloquant::quant {

// Everything that can be said about one conv.
struct LayerSettings {
  bool skip = false;  // stays float
  int weight_bits = 8;
  int activation_bits = 8;  // of the conv's input; 16: stays float
  Granularity granularity = Granularity::kPerChannel;
  WeightScaleMethod weight_scale = WeightScaleMethod::kMse;
  double weight_norm = 2.4;   // p of sum |w - q(w)|^p
  bool narrow_range = false;  // codes [-7, 7] instead of [-8, 7]
  bool symmetric = false;     // activations: int8 with zero point 0 instead of uint8 with one
  RangeMethod activation_range = RangeMethod::kChosen;
  double percentile = 99.99;   // of kPercentile: in (50, 100]
  double activation_norm = 2;  // of kMse: p of sum |x - q(x)|^p
  double activation_low = 0;   // of kFixed: at most 0
  double activation_high = 0;  // of kFixed: at least 0
};

// The same with every entry optional. Applied on top of other settings.
struct LayerOverrides {
  std::optional<bool> skip;
  std::optional<int> weight_bits;
  std::optional<int> activation_bits;
  std::optional<Granularity> granularity;
  std::optional<WeightScaleMethod> weight_scale;
  std::optional<double> weight_norm;
  std::optional<bool> narrow_range;
  std::optional<bool> symmetric;
  std::optional<RangeMethod> activation_range;
  std::optional<double> percentile;
  std::optional<double> activation_norm;
  std::optional<double> activation_low;
  std::optional<double> activation_high;
};

// `match` is a glob over conv names ("model.*.cv1.conv"), or a module path that means all convs
// under it ("model.23.cv2").
struct LayerRule {
  std::string match;
  LayerOverrides overrides;
};

enum class Preset : uint8_t {
  kNone,
  kReference,  // see quant/reference.h
};

struct QuantizationConfig {
  Scheme scheme;
  Preset preset = Preset::kNone;
  std::string method = "nearest";  // comma-separated names, see quant/method.h
  LayerOverrides defaults;         // for all layers
  std::vector<LayerRule> rules;    // in order; later ones win
};

// Built-in defaults, then the scheme's bits, then config.defaults, then each matching rule.
LayerSettings settings_for(const QuantizationConfig& config, std::string_view conv);

bool rule_matches(const LayerRule& rule, std::string_view conv);

// Throws Error (usage) that names a rule which matches none of `convs`, with the closest name.
void check_rules(const QuantizationConfig& config, const std::vector<std::string>& convs);

// YAML, all entries optional:
//   scheme: w4a8
//   preset: none | reference
//   method: nearest
//   defaults: {SETTING: VALUE, ...}
//   layers:
//     - match: model.23.*
//       weight_bits: 8
// SETTING: skip, weight_bits (2..8), activation_bits (4..8, 16), granularity (per_channel |
// per_tensor), weight_scale (mse | absmax), weight_norm, narrow_range, symmetric,
// activation_range (chosen | minmax | mean_minmax | percentile | mse | fixed), percentile,
// activation_norm, activation_low, activation_high.
// Unknown keys and bad values throw Error (usage) with `source` and the line number.
QuantizationConfig parse_config(std::string_view yaml, std::string_view source = "configuration");
QuantizationConfig read_config(const std::filesystem::path& path);
// Such that parse_config(config_yaml(c)) is c again.
std::string config_yaml(const QuantizationConfig& config);

// Names as in the YAML form; the parsers throw Error (usage).
RangeMethod parse_range_method(std::string_view name);
std::string_view range_method_name(RangeMethod method);
Preset parse_preset(std::string_view name);
std::string_view preset_name(Preset preset);

}  // namespace yoloquant::quant
