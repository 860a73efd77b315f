#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <limits>

namespace yoloquant {
namespace {

TEST(Tensor, CopiesBehaveAsValues) {
  Tensor a = Tensor::from<float>({2}, {1.0F, 2.0F});
  Tensor b = a;
  b.mutable_data<float>()[0] = 5.0F;
  EXPECT_EQ(a.data<float>()[0], 1.0F);
  EXPECT_EQ(b.data<float>()[0], 5.0F);
  EXPECT_FALSE(equal(a, b));
}

TEST(Tensor, RejectsWrongTypeSizeAndShape) {
  const Tensor a(DType::kInt8, {2, 3});
  EXPECT_THROW(a.data<float>(), Error);
  EXPECT_THROW(a.reshaped({7}), Error);
  EXPECT_EQ(a.reshaped({3, 2}).shape(), (Shape{3, 2}));
  const std::vector<std::byte> five(5);
  EXPECT_THROW(Tensor(DType::kInt8, {2, 3}, five), Error);
}

TEST(Tensor, RejectsImpossibleShapesBeforeAllocating) {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(Tensor(DType::kFloat32, {huge, 2}), Error);
  EXPECT_THROW(Tensor(DType::kFloat64, {huge}), Error);
  EXPECT_THROW(Tensor(DType::kFloat32, {-1}), Error);
}

TEST(Tensor, ConvertsBetweenFloatTypes) {
  const Tensor a = Tensor::from<float>({3}, {0.5F, -1.25F, 65536.0F});
  const Tensor half = a.to(DType::kFloat16);
  EXPECT_EQ(half.half_bits()[0], 0x3800);
  EXPECT_EQ(half.half_bits()[2], 0x7C00);
  EXPECT_EQ(a.to(DType::kBFloat16).to_float32().data<float>()[1], -1.25F);
  EXPECT_EQ(a.to(DType::kFloat64).data<double>()[2], 65536.0);
  EXPECT_EQ(Tensor::from<int8_t>({2}, {-3, 4}).to_float32().data<float>()[0], -3.0F);
}

}  // namespace
}  // namespace yoloquant
