#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "quant/config.h"

// The settings of a layer, listed once: reading, writing and applying them all go through here.
namespace yoloquant::quant {

// Calls visit(name, overrides.FIELD, &LayerSettings::FIELD) for every setting.
template <typename Overrides, typename Visitor>
void visit_fields(Overrides& overrides, Visitor&& visit) {
  visit("skip", overrides.skip, &LayerSettings::skip);
  visit("weight_bits", overrides.weight_bits, &LayerSettings::weight_bits);
  visit("activation_bits", overrides.activation_bits, &LayerSettings::activation_bits);
  visit("granularity", overrides.granularity, &LayerSettings::granularity);
  visit("weight_scale", overrides.weight_scale, &LayerSettings::weight_scale);
  visit("weight_norm", overrides.weight_norm, &LayerSettings::weight_norm);
  visit("narrow_range", overrides.narrow_range, &LayerSettings::narrow_range);
  visit("symmetric", overrides.symmetric, &LayerSettings::symmetric);
  visit("activation_range", overrides.activation_range, &LayerSettings::activation_range);
  visit("percentile", overrides.percentile, &LayerSettings::percentile);
  visit("activation_norm", overrides.activation_norm, &LayerSettings::activation_norm);
  visit("activation_low", overrides.activation_low, &LayerSettings::activation_low);
  visit("activation_high", overrides.activation_high, &LayerSettings::activation_high);
}

// The names of an enum's values.
template <typename Enum>
struct EnumNames;

template <>
struct EnumNames<Granularity> {
  static constexpr std::array<std::pair<std::string_view, Granularity>, 2> kNames{
      {{"per_channel", Granularity::kPerChannel}, {"per_tensor", Granularity::kPerTensor}}};
};
template <>
struct EnumNames<WeightScaleMethod> {
  static constexpr std::array<std::pair<std::string_view, WeightScaleMethod>, 2> kNames{
      {{"mse", WeightScaleMethod::kMse}, {"absmax", WeightScaleMethod::kAbsMax}}};
};
template <>
struct EnumNames<RangeMethod> {
  static constexpr std::array<std::pair<std::string_view, RangeMethod>, 6> kNames{
      {{"minmax", RangeMethod::kMinMax},
       {"mean_minmax", RangeMethod::kMeanMinMax},
       {"percentile", RangeMethod::kPercentile},
       {"mse", RangeMethod::kMse},
       {"fixed", RangeMethod::kFixed},
       {"chosen", RangeMethod::kChosen}}};
};
template <>
struct EnumNames<Preset> {
  static constexpr std::array<std::pair<std::string_view, Preset>, 2> kNames{
      {{"none", Preset::kNone}, {"reference", Preset::kReference}}};
};

}  // namespace yoloquant::quant
