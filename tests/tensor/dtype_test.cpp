#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>

namespace yoloquant {
namespace {

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half) << bits;
    }
  }
}

TEST(DType, HalfRoundsToNearestEven) {
  EXPECT_EQ(float_to_half(1.0F + 1.0F / 2048), 0x3C00);      // tie to even
  EXPECT_EQ(float_to_half(1.0F + 3.0F / 2048), 0x3C02);      // tie to even, upwards
  EXPECT_EQ(float_to_half(65519.99F), 0x7BFF);               // largest finite
  EXPECT_EQ(float_to_half(65520.0F), 0x7C00);                // rounds to infinity
  EXPECT_EQ(float_to_half(std::ldexp(1.0F, -25)), 0x0000);   // tie with zero
  EXPECT_EQ(float_to_half(std::ldexp(1.01F, -25)), 0x0001);  // smallest subnormal
  EXPECT_EQ(float_to_half(-0.0F), 0x8000);
}

TEST(DType, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(float_to_bfloat16(1.0F), 0x3F80);
  EXPECT_EQ(float_to_bfloat16(1.0F + 1.0F / 256), 0x3F80);
  EXPECT_EQ(float_to_bfloat16(1.0F + 3.0F / 256), 0x3F82);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::nanf("")))));
}

}  // namespace
}  // namespace yoloquant
