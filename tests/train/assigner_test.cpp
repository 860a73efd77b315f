#include "train/assigner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "train/boxes.h"
#include "train/tensors.h"

namespace yoloquant::train {
namespace {

constexpr int64_t kCells = 8;  // a side; one level of stride 4
constexpr int64_t kPoints = kCells * kCells;
constexpr int64_t kClasses = 3;

Anchors small_anchors() {
  std::vector<float> points(2 * kPoints);
  for (size_t i = 0; i < kPoints; ++i) {
    points[i] = static_cast<float>(i % kCells) + 0.5F;
    points[kPoints + i] = static_cast<float>(i / kCells) + 0.5F;
  }
  return {floats({2, kPoints}, points), floats({kPoints}, std::vector<float>(kPoints, 4))};
}

// Overlapping boxes in both images, two of them equal.
Targets small_targets() {
  return {integers({0, 0, 0, 1, 1, 1}), integers({0, 1, 2, 1, 1, 0}),
          floats({6, 4}, {1,  1, 17, 17, 3,  5, 20, 25, 0, 0, 31, 31,
                          10, 9, 26, 27, 10, 9, 26, 27, 2, 3, 4,  5})};
}

struct Predictions {
  at::Tensor classes = uniform("classes", {2, kClasses, kPoints}, -3, 3);
  at::Tensor boxes;

  Predictions() {
    const at::Tensor points = small_anchors().points.mul(4).t();  // [A, 2]
    const at::Tensor distances = uniform("distances", {2, kPoints, 4}, 2, 14);
    boxes = boxes_from_distances(points.expand({2, kPoints, 2}), distances).permute({0, 2, 1});
  }
};

struct Assigned {
  int64_t target = -1;
  double score = 0;
};

// Straight from the definition, with dense tables [M][A].
std::map<std::pair<int64_t, int64_t>, Assigned> assign_by_definition(const Targets& targets,
                                                                     const Predictions& predictions,
                                                                     int64_t top_k) {
  const auto count = static_cast<size_t>(targets.image.size(0));
  const auto image_of = [&](size_t m) {
    return targets.image[static_cast<int64_t>(m)].item<int64_t>();
  };
  std::vector<std::vector<double>> metric(count, std::vector<double>(kPoints, 0));
  auto overlap = metric;
  std::vector<std::vector<bool>> chosen(count, std::vector<bool>(kPoints, false));
  for (size_t m = 0; m < count; ++m) {
    const std::vector<float> box = values_of(targets.box[static_cast<int64_t>(m)]);
    const int64_t label = targets.label[static_cast<int64_t>(m)].item<int64_t>();
    for (size_t a = 0; a < kPoints; ++a) {
      const double x = 4 * (static_cast<double>(a % kCells) + 0.5);
      const double y = 4 * (static_cast<double>(a / kCells) + 0.5);
      if (x <= box[0] || y <= box[1] || x >= box[2] || y >= box[3]) continue;
      const auto point = static_cast<int64_t>(a);
      const double logit = predictions.classes[image_of(m)][label][point].item<double>();
      const at::Tensor predicted = predictions.boxes[image_of(m)].select(1, point);
      overlap[m][a] = std::max(
          0.0, complete_iou(targets.box[static_cast<int64_t>(m)], predicted).item<double>());
      metric[m][a] = std::sqrt(1 / (1 + std::exp(-logit))) * std::pow(overlap[m][a], 6);
    }
    std::vector<size_t> order(kPoints);
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](size_t a) { return metric[m][a]; });
    for (size_t k = 0; k < static_cast<size_t>(std::min(top_k, kPoints)); ++k) {
      chosen[m][order[k]] = metric[m][order[k]] > 0;
    }
  }
  std::map<std::pair<int64_t, int64_t>, Assigned> result;
  for (int64_t image = 0; image < 2; ++image) {
    for (size_t a = 0; a < kPoints; ++a) {
      std::vector<size_t> wanting;
      size_t most = count;
      for (size_t m = 0; m < count; ++m) {
        if (image_of(m) != image) continue;
        if (chosen[m][a]) wanting.push_back(m);
        if (most == count || overlap[m][a] > overlap[most][a]) most = m;
      }
      if (wanting.empty()) continue;
      const size_t m = wanting.size() == 1 ? wanting[0] : most;
      result[{image, static_cast<int64_t>(a)}] = {static_cast<int64_t>(m), metric[m][a]};
    }
  }
  std::map<int64_t, std::pair<double, double>> best;  // metric, overlap
  for (const auto& [where, assigned] : result) {
    auto& [m, o] = best[assigned.target];
    m = std::max(m, assigned.score);
    o = std::max(o,
                 overlap[static_cast<size_t>(assigned.target)][static_cast<size_t>(where.second)]);
  }
  for (auto& [where, assigned] : result) {
    const auto& [m, o] = best[assigned.target];
    assigned.score *= o / (m + 1e-9);
  }
  return result;
}

class Assigner : public testing::TestWithParam<int64_t> {};

TEST_P(Assigner, FollowsItsDefinition) {
  const Targets targets = small_targets();
  const Predictions predictions;
  const auto expected = assign_by_definition(targets, predictions, GetParam());
  const Assignment actual = assign(targets, find_candidates(targets, small_anchors()),
                                   predictions.classes, predictions.boxes, {.top_k = GetParam()});
  ASSERT_EQ(actual.target.size(0), static_cast<int64_t>(expected.size()));
  for (int64_t p = 0; p < actual.target.size(0); ++p) {
    const auto found =
        expected.find({actual.image[p].item<int64_t>(), actual.point[p].item<int64_t>()});
    ASSERT_NE(found, expected.end());
    EXPECT_EQ(actual.target[p].item<int64_t>(), found->second.target);
    EXPECT_NEAR(actual.score[p].item<double>(), found->second.score, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(TopK, Assigner, testing::Values(1, 10, 200));

TEST(AssignerTest, OfEqualBoxesTheFirstGetsContestedPoints) {
  const Targets targets = small_targets();
  const Predictions predictions;
  const Assignment actual = assign(targets, find_candidates(targets, small_anchors()),
                                   predictions.classes, predictions.boxes, {.top_k = 1});
  EXPECT_TRUE(actual.target.eq(3).any().item<bool>());
  EXPECT_FALSE(actual.target.eq(4).any().item<bool>());
}

TEST(AssignerTest, NoTargetsNoAssignment) {
  const Targets none{integers({}), integers({}), floats({0, 4}, {})};
  const Predictions predictions;
  const Assignment actual = assign(none, find_candidates(none, small_anchors()),
                                   predictions.classes, predictions.boxes, {.top_k = 10});
  EXPECT_EQ(actual.target.size(0), 0);
}

}  // namespace
}  // namespace yoloquant::train
