#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

// Arithmetic that loops can vectorize, see simd.h.
namespace yoloquant::quant {

// Adding and subtracting it rounds floats below 2^22 to whole numbers, ties to even.
inline constexpr float kRounder = 12582912.0F;

// x^p for x >= 0 to about 1e-5 relative, without a library call, so that loops vectorize. Below
// 2^-30 the result is far below any error that matters here.
[[gnu::always_inline]] inline float fast_power(float x, float p) {
  const int32_t bits = std::max(std::bit_cast<int32_t>(x), std::bit_cast<int32_t>(0x1p-30F));
  // x = 2^exponent * m with m in [sqrt(1/2), sqrt(2)).
  const int32_t exponent = (bits - 0x3F3504F3) >> 23;
  const float m = std::bit_cast<float>(bits - (exponent << 23));
  // log2(m) = 2/ln2 * atanh(t), t = (m - 1) / (m + 1), |t| < 0.172.
  const float t = (m - 1) / (m + 1);
  const float t2 = t * t;
  const float log2 =
      static_cast<float>(exponent) +
      t * (2.88539008F + t2 * (0.961796694F + t2 * (0.577078016F + t2 * 0.412198583F)));
  const float y = p * log2;
  const float whole = (y + kRounder) - kRounder;
  const float f = y - whole;  // in [-1/2, 1/2]
  const float power =
      1.0F +
      f * (0.693147181F +
           f * (0.240226507F + f * (0.0555041087F + f * (0.00961812911F + f * 0.00133335581F))));
  const int32_t scale = std::max(static_cast<int32_t>(whole), -126) + 127;
  return power * std::bit_cast<float>(scale << 23);
}

// 1 / (1 + e^-x) to about 1e-7 relative, for any x; not a number stays none in x * fast_sigmoid(x).
[[gnu::always_inline]] inline float fast_sigmoid(float x) {
  // Beyond +-87, e^x and e^-x leave float32.
  float y = x < -87.0F ? -87.0F : x;
  y = y > 87.0F ? -87.0F : -y;
  // e^y = 2^whole e^r with |r| <= ln2 / 2; ln2 in two parts, so that r is exact.
  const float whole = (y * 1.44269504F + kRounder) - kRounder;
  const float r = (y - whole * 0.693145752F) - whole * 1.42860677e-6F;
  const float power =
      1.0F + r * (1.0F + r * (0.5F + r * (0.166666667F +
                                          r * (0.0416666667F +
                                               r * (0.00833333333F +
                                                    r * (0.00138888889F + r * 0.000198412698F))))));
  return 1.0F / (1.0F + power * std::bit_cast<float>((static_cast<int32_t>(whole) + 127) << 23));
}

}  // namespace yoloquant::quant
