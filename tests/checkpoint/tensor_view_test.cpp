#include "checkpoint/tensor_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "support/error_of.h"

namespace yoloquant::checkpoint {
namespace {

// Numbers 0, 1, ..., count - 1.
std::shared_ptr<const Storage> counting_storage(size_t count) {
  auto numbers = std::make_shared<std::vector<int32_t>>(count);
  std::iota(numbers->begin(), numbers->end(), 0);
  auto storage = std::make_shared<Storage>();
  storage->key = "7";
  storage->bytes = std::as_bytes(std::span(*numbers));
  storage->owner = numbers;
  return storage;
}

std::vector<int32_t> load(size_t count, int64_t offset, const Shape& shape, const Shape& strides) {
  const Tensor tensor =
      TensorView(counting_storage(count), DType::kInt32, offset, shape, strides).load();
  EXPECT_EQ(tensor.shape(), shape);
  const auto data = tensor.data<int32_t>();
  return {data.begin(), data.end()};
}

std::string error_of(int64_t offset, const Shape& shape, const Shape& strides) {
  return yoloquant::test::error_of(
      [&] { const TensorView view(counting_storage(12), DType::kInt32, offset, shape, strides); });
}

TEST(TensorView, Windows) {
  using ::testing::ElementsAre;
  EXPECT_THAT(load(6, 0, {2, 3}, {3, 1}), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(load(6, 0, {3, 2}, {1, 3}), ElementsAre(0, 3, 1, 4, 2, 5));  // transposed
  EXPECT_THAT(load(6, 2, {2, 2}, {2, 1}), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(load(6, 1, {3}, {2}), ElementsAre(1, 3, 5));
  EXPECT_THAT(load(3, 1, {2, 2}, {0, 1}), ElementsAre(1, 2, 1, 2));  // expanded
  EXPECT_THAT(load(5, 4, {}, {}), ElementsAre(4));
  EXPECT_THAT(load(5, 4, {1, 1}, {99, 99}), ElementsAre(4));
  EXPECT_THAT(load(0, 0, {0, 3}, {3, 1}), ElementsAre());
  EXPECT_THAT(load(12, 0, {2, 2, 3}, {1, 6, 2}), ElementsAre(0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11));
}

TEST(TensorView, OutOfBounds) {
  using ::testing::HasSubstr;
  EXPECT_EQ(error_of(0, {12}, {1}), "");
  EXPECT_THAT(error_of(1, {12}, {1}), HasSubstr("reaches outside of storage 7"));
  EXPECT_THAT(error_of(0, {2, 2}, {11, 1}), HasSubstr("reaches outside"));
  EXPECT_THAT(error_of(-1, {2}, {1}), HasSubstr("negative offset"));
  EXPECT_THAT(error_of(3, {2}, {-1}), HasSubstr("negative offset or stride"));
  EXPECT_THAT(error_of(0, {-2}, {1}), HasSubstr("negative dimension"));
  EXPECT_THAT(error_of(0, {2}, {}), HasSubstr("1 dimensions but 0 strides"));
  EXPECT_THAT(error_of(0, {INT64_MAX, INT64_MAX}, {1, 1}), HasSubstr("too large"));
  EXPECT_THAT(error_of(0, {3, 3}, {INT64_MAX, INT64_MAX}), HasSubstr("too large"));
  EXPECT_THAT(error_of(INT64_MAX, {1}, {1}), HasSubstr("reaches outside"));
  EXPECT_EQ(error_of(INT64_MAX, {0}, {1}), "");
}

TEST(TensorView, BoolsAreZeroOrOne) {
  auto bytes = std::make_shared<std::vector<uint8_t>>(std::vector<uint8_t>{0, 1, 2, 255});
  auto storage = std::make_shared<Storage>();
  storage->bytes = std::as_bytes(std::span(*bytes));
  storage->owner = bytes;
  const Tensor tensor = TensorView(storage, DType::kBool, 0, {4}, {1}).load();
  const auto data = tensor.data<bool>();
  EXPECT_THAT(std::vector<bool>(data.begin(), data.end()),
              ::testing::ElementsAre(false, true, true, true));
}

}  // namespace
}  // namespace yoloquant::checkpoint
