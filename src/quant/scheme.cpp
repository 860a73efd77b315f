#include "quant/scheme.h"

#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace yoloquant::quant {

bool valid_weight_bits(int bits) { return bits >= kMinWeightBits && bits <= kMaxWeightBits; }

bool valid_activation_bits(int bits) {
  return (bits >= kMinActivationBits && bits <= kMaxActivationBits) || bits == kFloatActivationBits;
}

Scheme parse_scheme(std::string_view name) {
  const std::string text = lower(name);
  Scheme scheme;
  const char* const end = text.data() + text.size();
  bool good = text.size() >= 4 && text[0] == 'w';
  if (good) {
    const auto weights = std::from_chars(text.data() + 1, end, scheme.weight_bits);
    good = weights.ec == std::errc() && weights.ptr != end && *weights.ptr == 'a';
    if (good) {
      const auto activations = std::from_chars(weights.ptr + 1, end, scheme.activation_bits);
      good = activations.ec == std::errc() && activations.ptr == end;
    }
  }
  if (!good || !valid_weight_bits(scheme.weight_bits) ||
      !valid_activation_bits(scheme.activation_bits)) {
    fail_usage(
        "unknown scheme '{}': write wNaM with 2 to 8 weight bits and 4 to 8, or 16 (float), "
        "activation bits, such as w4a8",
        name);
  }
  return scheme;
}

std::string scheme_name(const Scheme& scheme) {
  return fmt::format("w{}a{}", scheme.weight_bits, scheme.activation_bits);
}

}  // namespace yoloquant::quant
