#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace yoloquant::quant {

// Bits of weights and activations: w4a8 is 4-bit weights and 8-bit conv inputs. 16 activation bits
// stand for "stays float".
struct Scheme {
  int weight_bits = 8;
  int activation_bits = 8;

  bool quantizes_activations() const { return activation_bits < 16; }
  bool operator==(const Scheme&) const = default;
};

inline constexpr int kMinWeightBits = 2;
inline constexpr int kMaxWeightBits = 8;
inline constexpr int kMinActivationBits = 4;
inline constexpr int kMaxActivationBits = 8;
inline constexpr int kFloatActivationBits = 16;

// "w4a8", any case: N in 2..8 weight bits, M in 4..8 or 16 activation bits. Error (usage)
// otherwise.
Scheme parse_scheme(std::string_view name);
std::string scheme_name(const Scheme& scheme);

bool valid_weight_bits(int bits);
bool valid_activation_bits(int bits);

// One scale per output channel, or one for the whole weight.
enum class Granularity : uint8_t { kPerChannel, kPerTensor };

// How the range of an activation is taken from what calibration saw.
enum class RangeMethod : uint8_t {
  kMinMax,      // all of it
  kMeanMinMax,  // the means over the images of smallest and largest value
  kPercentile,  // the tails beyond a percentile are clipped
  kMse,         // the clip of least squared error
  kFixed,       // as the settings say
  kChosen,      // by layer, see quant/range_choice.h
};

// How a weight's scale is chosen.
enum class WeightScaleMethod : uint8_t {
  kMse,     // least sum |w - q(w)|^p
  kAbsMax,  // the largest weight maps to the largest code
};

}  // namespace yoloquant::quant
