#include "eval/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "eval/coco_support.h"
#include "eval/detections_json.h"
#include "eval/metrics.h"
#include "support/temporary_folder.h"

namespace yoloquant::eval {
namespace {

class Bootstrap : public testing::Test {
 protected:
  // Evaluates a random set; `keep` is the share of the detections that stay.
  CocoResult evaluate(const test::RandomCoco& set, float keep = 1) {
    write_file(folder_ / "a.json", set.annotations.dump());
    dataset_ = data::CocoDataset::read(folder_ / "a.json");
    Random random(7);
    std::vector<CocoDetection> detections;
    for (const auto& d : set.detections) {
      if (random.uniform() >= keep) continue;
      detections.push_back({d["image_id"], d["category_id"], d["bbox"][0], d["bbox"][1],
                            d["bbox"][2], d["bbox"][3], d["score"]});
    }
    return evaluate_coco(dataset_, set.image_ids, detections, {.keep_matches = true});
  }

  test::TemporaryFolder folder_;
  data::CocoDataset dataset_;
};

TEST_F(Bootstrap, EstimateIsTheEvaluation) {
  for (const int levels : {0, 4}) {
    const auto set = test::make_random_coco(21, {.images = 40, .score_levels = levels});
    const CocoResult result = evaluate(set);
    const auto intervals = bootstrap(result.matches, {.resamples = 200});
    EXPECT_NEAR(intervals.map_50_95.estimate, result.figures.ap, 1e-12);
    EXPECT_NEAR(intervals.map_50.estimate, result.figures.ap50, 1e-12);
    EXPECT_LT(intervals.map_50.low, result.figures.ap50);
    EXPECT_GT(intervals.map_50.high, result.figures.ap50);
    EXPECT_GT(intervals.map_50.standard_error, 0);
  }
}

TEST_F(Bootstrap, SameForAnyNumberOfThreadsAndSeedMatters) {
  const CocoResult result = evaluate(test::make_random_coco(22, {}));
  const auto one = bootstrap(result.matches, {.resamples = 50, .seed = 5});
  const auto four = bootstrap(result.matches, {.resamples = 50, .seed = 5, .threads = 4});
  const auto other = bootstrap(result.matches, {.resamples = 50, .seed = 6});
  EXPECT_EQ(one.map_50.low, four.map_50.low);
  EXPECT_EQ(one.map_50_95.high, four.map_50_95.high);
  EXPECT_NE(one.map_50_95.standard_error, other.map_50_95.standard_error);
}

TEST_F(Bootstrap, DifferenceOfAModelWithItselfIsZero) {
  const CocoResult result = evaluate(test::make_random_coco(23, {}));
  const auto difference = bootstrap_difference(result.matches, result.matches, {.resamples = 50});
  EXPECT_EQ(difference.map_50_95.low, 0);
  EXPECT_EQ(difference.map_50_95.high, 0);
  EXPECT_EQ(difference.map_50.estimate, 0);
  EXPECT_EQ(difference.map_50.standard_error, 0);
}

TEST_F(Bootstrap, DifferenceSeesAWorseModel) {
  const auto set = test::make_random_coco(24, {.images = 80});
  const CocoResult full = evaluate(set);
  const CocoResult half = evaluate(set, 0.5F);
  const auto difference = bootstrap_difference(full.matches, half.matches, {.resamples = 300});
  EXPECT_NEAR(difference.map_50_95.estimate, half.figures.ap - full.figures.ap, 1e-12);
  EXPECT_LT(difference.map_50_95.high, 0);
  // Paired: tighter than two independent intervals would be.
  const auto alone = bootstrap(full.matches, {.resamples = 300});
  const auto alone_half = bootstrap(half.matches, {.resamples = 300});
  EXPECT_LT(difference.map_50.standard_error,
            std::hypot(alone.map_50.standard_error, alone_half.map_50.standard_error));
}

// Image i drawn n times counts as n images that are equal: the set is written out with copies.
TEST_F(Bootstrap, WeightsEqualCopiesOfImages) {
  auto set = test::make_random_coco(31, {.images = 15});
  const CocoResult once = evaluate(set);
  Random random(3);
  std::vector<uint32_t> weights(15);
  for (size_t i = 0; i < 15; ++i) ++weights[random.below(15)];

  test::RandomCoco copies = set;
  copies.annotations["images"].clear();
  copies.annotations["annotations"].clear();
  copies.detections.clear();
  copies.image_ids.clear();
  for (size_t i = 0; i < 15; ++i) {
    const int64_t id = once.matches.image_ids[i];
    for (uint32_t copy = 0; copy < weights[i]; ++copy) {
      const int64_t copy_id = id * 100 + copy;
      copies.image_ids.push_back(copy_id);
      copies.annotations["images"].push_back({{"id", copy_id}, {"file_name", "x.jpg"}});
      const auto append = [&](const nlohmann::json& from, nlohmann::json& to) {
        for (auto item : from) {
          if (item["image_id"] != id) continue;
          item["image_id"] = copy_id;
          to.push_back(item);
        }
      };
      append(set.annotations["annotations"], copies.annotations["annotations"]);
      append(set.detections, copies.detections);
    }
  }
  const auto weighted = weighted_map(once.matches, weights);
  ASSERT_TRUE(weighted.has_value());
  const CocoResult many = evaluate(copies);
  EXPECT_EQ(many.num_images, 15);
  EXPECT_NEAR(weighted->map_50_95, many.figures.ap, 1e-12);
  EXPECT_NEAR(weighted->map_50, many.figures.ap50, 1e-12);
  EXPECT_FALSE(weighted_map(once.matches, std::vector<uint32_t>(15)).has_value());
  EXPECT_THROW(weighted_map(once.matches, {}), Error);
}

TEST_F(Bootstrap, IntervalCoversRepeatedExperiments) {
  // Many small experiments from one population: their spread is what the interval predicts.
  const int kExperiments = 40;
  double sum = 0;
  double squares = 0;
  double predicted = 0;
  for (int i = 0; i < kExperiments; ++i) {
    const CocoResult result = evaluate(
        test::make_random_coco(100 + static_cast<uint64_t>(i), {.images = 60, .categories = 3}));
    sum += result.figures.ap50;
    squares += result.figures.ap50 * result.figures.ap50;
    predicted += bootstrap(result.matches, {.resamples = 60}).map_50.standard_error / kExperiments;
  }
  const double mean = sum / kExperiments;
  const double spread = std::sqrt(squares / kExperiments - mean * mean);
  EXPECT_GT(predicted, 0.6 * spread);
  EXPECT_LT(predicted, 1.7 * spread);
}

TEST_F(Bootstrap, RefusesWhatCannotBeCompared) {
  const CocoResult a = evaluate(test::make_random_coco(25, {.images = 12}));
  const CocoResult b = evaluate(test::make_random_coco(26, {.images = 12}));
  EXPECT_THROW(bootstrap_difference(a.matches, b.matches), Error);
  EXPECT_THROW(bootstrap(MatchTable{}), Error);
  EXPECT_THROW(bootstrap(a.matches, {.resamples = 0}), Error);
  EXPECT_THROW(bootstrap(a.matches, {.confidence = 1}), Error);
  const CocoResult empty = evaluate(test::make_random_coco(27, {.max_ground_truths = 0}));
  EXPECT_THROW(bootstrap(empty.matches), Error);
}

TEST_F(Bootstrap, OperatingPointAndMetricsJson) {
  const CocoResult result = evaluate(test::make_random_coco(28, {.images = 40}));
  const OperatingPoint point = best_operating_point(result.matches);
  const OperatingCurve curve = operating_curve(result.matches);
  EXPECT_GT(point.f1, 0.2);
  for (size_t i = 1; i < kConfSteps; ++i) {
    EXPECT_LE(curve[i].recall, curve[i - 1].recall);
    EXPECT_LE(curve[i].f1, point.f1);
  }
  // All detections in: the recall of the evaluation at IoU .5 counts the same ground truths.
  const auto json = metrics_json(result);
  std::vector<std::string> keys;
  for (const auto& item : json.items()) keys.push_back(item.key());
  EXPECT_EQ(keys,
            (std::vector<std::string>{"mAP_50_95", "mAP_50", "mAP_75", "mAP_small", "mAP_medium",
                                      "mAP_large", "num_images", "num_detections"}));
  EXPECT_EQ(json["mAP_50_95"], result.figures.ap);
  EXPECT_EQ(json["num_images"], 40);
  const auto detailed = detailed_metrics_json(result, point, bootstrap(result.matches, {20}));
  EXPECT_EQ(detailed["per_class"].size(), 6U);
  EXPECT_EQ(detailed["conf"], point.conf);
  EXPECT_LE(detailed["confidence_interval"]["mAP_50"]["low"],
            detailed["confidence_interval"]["mAP_50"]["high"]);
}

}  // namespace
}  // namespace yoloquant::eval
