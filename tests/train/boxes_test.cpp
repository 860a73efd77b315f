#include "train/boxes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "train/tensors.h"

namespace yoloquant::train {
namespace {

TEST(CompleteIou, IsIouLessDistanceAndAspect) {
  const at::Tensor a = floats({4, 4}, {0, 0, 2, 2, 0, 0, 4, 2, 5, 5, 9, 8, 0, 0, 1, 1});
  const at::Tensor b = floats({4, 4}, {1, 1, 3, 3, 0, 0, 2, 4, 5, 5, 9, 8, 3, 0, 4, 1});
  const std::vector<float> ciou = values_of(complete_iou(a, b));
  EXPECT_NEAR(ciou[0], 1.0 / 7 - 2.0 / 18, 1e-6);
  const double aspect = std::pow(2 / std::numbers::pi * (std::atan(2) - std::atan(0.5)), 2);
  EXPECT_NEAR(ciou[1], 1.0 / 3 - 2.0 / 32 - aspect * aspect / (aspect - 1.0 / 3 + 1), 1e-6);
  EXPECT_NEAR(ciou[2], 1, 1e-6);
  EXPECT_NEAR(ciou[3], -9.0 / 17, 1e-6);
}

TEST(Boxes, DistancesAndBoxesAreInverse) {
  const at::Tensor points = floats({2, 2}, {1.5, 2.5, 8.5, 0.5});
  const at::Tensor distances = floats({2, 4}, {1, 2, 3, 4, 0.25, 0.5, 6, 7});
  const at::Tensor boxes = boxes_from_distances(points, distances);
  EXPECT_EQ(values_of(boxes), (std::vector<float>{0.5, 0.5, 4.5, 6.5, 8.25, 0, 14.5, 7.5}));
  EXPECT_EQ(values_of(distances_from_boxes(points, boxes)), values_of(distances));
}

TEST(Boxes, ExpectedDistanceIsTheMeanOfTheBins) {
  const float even = std::log(0.5F);
  const at::Tensor logits = floats({1, 4, 2}, {0, even, 0, -100, 0, -100, 0, even});
  const std::vector<float> distance = values_of(expected_distances(logits, 1));
  EXPECT_FLOAT_EQ(distance[0], 1.5F);  // all alike
  EXPECT_FLOAT_EQ(distance[1], 1.5F);  // half 0, half 3
}

}  // namespace
}  // namespace yoloquant::train
