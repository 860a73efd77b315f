#include "eval/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "eval/detections_json.h"
#include "support/npy.h"
#include "support/shared_data.h"

namespace yoloquant::eval {
namespace {

// [4 + classes, anchors] with clusters of overlapping boxes; `levels` > 0 makes equal scores.
std::vector<float> random_head(uint64_t seed, size_t classes, size_t anchors, int levels,
                               float score_power) {
  Random random(seed);
  std::vector<float> raw((4 + classes) * anchors);
  for (size_t a = 0; a < anchors; ++a) {
    const auto cluster = static_cast<float>(random.below(12));
    raw[a] = 50 * cluster + random.uniform(0, 30);
    raw[anchors + a] = 300 + random.uniform(-20, 20);
    raw[2 * anchors + a] = random.uniform(20, 80);
    raw[3 * anchors + a] = random.uniform(20, 80);
    for (size_t c = 0; c < classes; ++c) {
      float score = std::pow(random.uniform(), score_power);
      if (levels > 0) score = std::round(score * levels) / levels;
      raw[(4 + c) * anchors + a] = score;
    }
  }
  return raw;
}

// Plain O(n^2) NMS over boxes moved apart by class, after Ultralytics' non_max_suppression.
std::vector<Detection> naive_one2many(const std::vector<float>& raw, size_t classes,
                                      const DecodeOptions& options) {
  const size_t anchors = raw.size() / (4 + classes);
  std::vector<Detection> candidates;
  for (size_t a = 0; a < anchors; ++a) {
    for (size_t c = 0; c < classes; ++c) {
      const float score = raw[(4 + c) * anchors + a];
      if (!(score > options.conf)) continue;
      const float w = raw[2 * anchors + a] / 2;
      const float h = raw[3 * anchors + a] / 2;
      candidates.push_back({raw[a] - w, raw[anchors + a] - h, raw[a] + w, raw[anchors + a] + h,
                            score, static_cast<int32_t>(c)});
    }
  }
  std::ranges::stable_sort(candidates, std::ranges::greater{}, &Detection::score);
  if (candidates.size() > static_cast<size_t>(options.pre_nms_topk)) {
    candidates.resize(static_cast<size_t>(options.pre_nms_topk));
  }
  std::vector<bool> dropped(candidates.size());
  std::vector<Detection> kept;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (dropped[i]) continue;
    if (kept.size() < static_cast<size_t>(options.max_det)) kept.push_back(candidates[i]);
    const auto corner = [](const Detection& d, float value) { return value + d.class_id * 7680.0; };
    const Detection& a = candidates[i];
    for (size_t j = i + 1; j < candidates.size(); ++j) {
      const Detection& b = candidates[j];
      const double width = std::max(0.0, std::min(corner(a, a.x2), corner(b, b.x2)) -
                                             std::max(corner(a, a.x1), corner(b, b.x1)));
      const double height = std::max(0.0, std::min(corner(a, a.y2), corner(b, b.y2)) -
                                              std::max(corner(a, a.y1), corner(b, b.y1)));
      const auto area = [&](const Detection& d) {
        return (corner(d, d.x2) - corner(d, d.x1)) * (corner(d, d.y2) - corner(d, d.y1));
      };
      const double shared = width * height;
      if (shared / (area(a) + area(b) - shared + 1e-7) > options.iou) dropped[j] = true;
    }
  }
  return kept;
}

struct HeadCase {
  size_t classes;
  size_t anchors;
  int levels;
  float score_power;
  DecodeOptions options;
};

class NaiveComparison : public testing::TestWithParam<HeadCase> {};

TEST_P(NaiveComparison, KeepsTheSameDetections) {
  const HeadCase& c = GetParam();
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const auto raw = random_head(seed, c.classes, c.anchors, c.levels, c.score_power);
    const auto expected = naive_one2many(raw, c.classes, c.options);
    const auto found = decode_one2many(raw, static_cast<int64_t>(c.classes), c.options);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], expected[i]) << i;
    EXPECT_GT(found.size(), 5U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Decode, NaiveComparison,
    testing::Values(HeadCase{3, 200, 0, 2, {}}, HeadCase{1, 300, 0, 1, {}},
                    HeadCase{5, 150, 7, 1, {}},  // ties
                    HeadCase{4, 400, 0, 1, {.conf = 0.25F, .iou = 0.45F}},
                    HeadCase{6, 300, 11, 1, {.pre_nms_topk = 500}},  // ties at the cut
                    HeadCase{80, 20, 0, 1, {.max_det = 7}},
                    HeadCase{2, 500, 0, 1, {.iou = 0.99F, .max_det = 1000}}));

TEST(Decode, DropsScoresAtTheThresholdAndNan) {
  std::vector<float> raw(5 * 4);
  for (size_t a = 0; a < 4; ++a) raw[a] = 100.0F * static_cast<float>(a);
  std::fill_n(raw.begin() + 8, 8, 10.0F);
  raw[16] = 0.5F;
  raw[17] = 0.25F;
  raw[18] = std::numeric_limits<float>::quiet_NaN();
  raw[19] = 0.2500001F;
  const auto found = decode_one2many(raw, 1, {.conf = 0.25F});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0], (Detection{-5, -5, 5, 5, 0.5F, 0}));
  EXPECT_EQ(found[1].x1, 295);
  EXPECT_EQ(decode_one2one(raw, 1, {.conf = 0.25F}).size(), 2U);
}

TEST(Decode, KeepsOneBoxPerClass) {
  // Two anchors with the same box, two classes.
  const std::vector<float> raw{50, 50, 50, 50, 20, 20, 20, 20, 0.9F, 0.8F, 0.3F, 0.4F};
  const auto found = decode_one2many(raw, 2);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].class_id, 0);
  EXPECT_EQ(found[0].score, 0.9F);
  EXPECT_EQ(found[1].class_id, 1);
  EXPECT_EQ(found[1].score, 0.4F);
}

// v10postprocess as two stable sorts over everything.
std::vector<Detection> naive_one2one(const std::vector<float>& raw, size_t classes,
                                     size_t max_det) {
  const size_t anchors = raw.size() / (4 + classes);
  const auto score = [&](size_t a, size_t c) { return raw[(4 + c) * anchors + a]; };
  const auto best = [&](size_t a) {
    float value = 0;
    for (size_t c = 0; c < classes; ++c) value = std::max(value, score(a, c));
    return value;
  };
  std::vector<size_t> order(anchors);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return best(a) > best(b); });
  order.resize(std::min(max_det, anchors));
  std::vector<Detection> all;
  for (const size_t a : order) {
    const float w = raw[2 * anchors + a] / 2;
    const float h = raw[3 * anchors + a] / 2;
    for (size_t c = 0; c < classes; ++c) {
      all.push_back({raw[a] - w, raw[anchors + a] - h, raw[a] + w, raw[anchors + a] + h,
                     score(a, c), static_cast<int32_t>(c)});
    }
  }
  std::ranges::stable_sort(all, std::ranges::greater{}, &Detection::score);
  all.resize(std::min(max_det, all.size()));
  std::erase_if(all, [](const Detection& d) { return d.score <= 0; });
  return all;
}

TEST(Decode, RowsAreTheRawHeadWithObjectness) {
  constexpr size_t kClasses = 3;
  constexpr size_t kBoxes = 60;
  const std::vector<float> raw = random_head(9, kClasses, kBoxes, 0, 2);
  std::vector<float> rows;
  for (size_t i = 0; i < kBoxes; ++i) {
    for (size_t k = 0; k < 4; ++k) rows.push_back(raw[k * kBoxes + i]);
    rows.push_back(0.5F);
    for (size_t k = 4; k < 4 + kClasses; ++k) rows.push_back(2 * raw[k * kBoxes + i]);
  }
  const auto expected = decode_one2many(raw, kClasses);
  const auto actual = decode_rows(rows, kClasses);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].score, expected[i].score);
    EXPECT_EQ(actual[i].class_id, expected[i].class_id);
    EXPECT_EQ(actual[i].x1, expected[i].x1);
  }
  rows.pop_back();
  EXPECT_THROW(decode_rows(rows, kClasses), Error);
}

TEST(Decode, OneToOneIsTwoTopK) {
  for (const int levels : {0, 9}) {
    const auto raw = random_head(3, 5, 500, levels, 2);
    EXPECT_EQ(decode_one2one(raw, 5, {.conf = 0, .max_det = 100}), naive_one2one(raw, 5, 100));
  }
  const auto few = random_head(4, 3, 7, 0, 1);
  EXPECT_EQ(decode_one2one(few, 3, {.conf = 0}), naive_one2one(few, 3, 300));
}

TEST(Decode, EndToEndFiltersRows) {
  const std::vector<float> rows{1, 2, 3, 4, 0.9F, 5, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 0.4F, 79};
  const auto found = decode_end2end(rows, 80);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0], (Detection{1, 2, 3, 4, 0.9F, 5}));
  EXPECT_EQ(decode_end2end(rows, 80, {.max_det = 1}).size(), 1U);
  EXPECT_THROW(decode_end2end(rows, 79), Error);
  EXPECT_THROW(decode_end2end(std::span(rows).first(7), 80), Error);
}

TEST(Decode, RefusesSizesAndOptionsThatDoNotFit) {
  const std::vector<float> raw(6 * 10);
  EXPECT_THROW(decode_one2many(raw, 7), Error);
  EXPECT_THROW(decode_one2many(raw, 0), Error);
  EXPECT_THROW(decode_one2many(raw, 2, {.conf = 1.5F}), Error);
  EXPECT_THROW(decode_one2many(raw, 2, {.iou = std::nanf("")}), Error);
  EXPECT_THROW(decode_one2one(raw, 2, {.max_det = 0}), Error);
  EXPECT_TRUE(decode_one2many({}, 2).empty());
  EXPECT_TRUE(decode_one2one({}, 2).empty());
}

TEST(Decode, MapsToTheImageAndCategory) {
  const auto letterbox = data::Letterbox::fit(320, 200, 640, 640);
  std::vector<CocoDetection> out;
  const std::vector<data::CocoCategory> categories{{1, "a"}, {90, "b"}};
  const std::vector<Detection> detections{{-10, 140, 40, 160, 0.5F, 1}};
  append_coco_detections(detections, letterbox, 17, categories, &out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].image_id, 17);
  EXPECT_EQ(out[0].category_id, 90);
  EXPECT_EQ(out[0].x, 0);
  EXPECT_EQ(out[0].y, 10);
  EXPECT_EQ(out[0].width, 20);
  EXPECT_EQ(out[0].height, 10);
  EXPECT_THROW(append_coco_detections(detections, letterbox, 17, {categories.data(), 1}, &out),
               Error);
}

// From the golden raw output of the first image to the golden detections on it.
TEST(Decode, GoldenRawOutputsGiveGoldenDetections) {
  YQ_REQUIRE_SHARED();
  const auto shared = test::shared_data();
  const auto dataset = data::CocoDataset::open(shared / "coco", "val2017");
  const auto& image = dataset.images()[0];
  const auto letterbox = data::Letterbox::fit(image.width, image.height, 640, 640);
  for (const std::string head : {"one2many", "one2one"}) {
    const Tensor raw = test::read_npy(shared / "golden" / ("yolov10n_image0_" + head + ".npy"));
    const auto found = head == "one2many" ? decode_one2many(raw.data<float>(), 80)
                                          : decode_one2one(raw.data<float>(), 80, {.conf = 0});
    std::vector<CocoDetection> ours;
    append_coco_detections(found, letterbox, image.id, dataset.categories(), &ours);
    auto golden = read_detections(shared / "golden" / ("coco50_" + head + "_detections.json"));
    std::erase_if(golden, [&](const CocoDetection& d) { return d.image_id != image.id; });
    ASSERT_EQ(ours.size(), golden.size());
    // The golden file rounds boxes to three and scores to six decimals.
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i].category_id, golden[i].category_id) << i;
      EXPECT_NEAR(ours[i].x, golden[i].x, 1e-3) << i;
      EXPECT_NEAR(ours[i].y, golden[i].y, 1e-3) << i;
      EXPECT_NEAR(ours[i].width, golden[i].width, 1e-3) << i;
      EXPECT_NEAR(ours[i].height, golden[i].height, 1e-3) << i;
      EXPECT_NEAR(ours[i].score, golden[i].score, 1e-6) << i;
    }
  }
}

}  // namespace
}  // namespace yoloquant::eval
