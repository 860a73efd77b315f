#include "eval/coco_evaluator.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "eval/coco_support.h"
#include "eval/coco_thresholds.h"
#include "eval/detections_json.h"
#include "support/temporary_folder.h"

namespace yoloquant::eval {
namespace {

using test::RandomCoco;
using test::RandomCocoOptions;

TEST(CocoEvaluator, GoldenDetectionsGivePycocotoolsFigures) {
  YQ_REQUIRE_SHARED();
  const auto shared = test::shared_data();
  const auto golden = nlohmann::json::parse(read_file(shared / "golden/coco50_metrics.json"));
  const auto dataset = data::CocoDataset::open(shared / "coco", "val2017");
  for (const char* head : {"one2many", "one2one"}) {
    const auto detections =
        read_detections(shared / "golden" / ("coco50_" + std::string(head) + "_detections.json"));
    EXPECT_EQ(detections.size(), golden[head]["detections"].get<size_t>());
    const CocoResult result = evaluate_coco(dataset, dataset.first_image_ids(0), detections);
    test::expect_figures(result.figures, golden[head]["stats"]);
    EXPECT_EQ(result.num_images, 50);
  }
}

// Writes the set, evaluates it with both and compares; also for any number of threads.
void compare_with_pycocotools(const RandomCoco& set, std::vector<int64_t> image_ids) {
  const test::TemporaryFolder folder;
  write_file(folder / "annotations.json", set.annotations.dump());
  write_file(folder / "detections.json", set.detections.dump());
  const auto dataset = data::CocoDataset::read(folder / "annotations.json");
  const auto detections = read_detections(folder / "detections.json");
  ASSERT_EQ(detections.size(), set.detections.size());
  const auto reference = test::pycocotools_figures(folder.path(), folder / "annotations.json",
                                                   folder / "detections.json", image_ids);
  const CocoResult one = evaluate_coco(dataset, image_ids, detections);
  test::expect_figures(one.figures, reference);
  const CocoResult three = evaluate_coco(dataset, image_ids, detections, {.threads = 3});
  EXPECT_EQ(one.figures.as_array(), three.figures.as_array());
}

class RandomSets : public testing::TestWithParam<RandomCocoOptions> {};

TEST_P(RandomSets, EqualPycocotools) {
  if (!test::has_pycocotools()) GTEST_SKIP() << "needs Python with pycocotools";
  const RandomCoco set = test::make_random_coco(GetParam().images + 17, GetParam());
  compare_with_pycocotools(set, set.image_ids);
}

INSTANTIATE_TEST_SUITE_P(
    CocoEvaluator, RandomSets,
    testing::Values(RandomCocoOptions{}, RandomCocoOptions{.images = 31, .crowd_share = 0.5},
                    RandomCocoOptions{.images = 32, .score_levels = 5},
                    RandomCocoOptions{.images = 33, .score_levels = 1},
                    // More than 100 detections of a class on an image, with ties at the cut.
                    RandomCocoOptions{
                        .images = 5, .categories = 4, .false_detections = 900, .score_levels = 50},
                    RandomCocoOptions{.images = 60, .max_ground_truths = 1},
                    RandomCocoOptions{.images = 20, .max_ground_truths = 0},
                    RandomCocoOptions{.images = 25, .crowd_share = 1.0}));

TEST(CocoEvaluator, SubsetEqualsPycocotools) {
  if (!test::has_pycocotools()) GTEST_SKIP() << "needs Python with pycocotools";
  const RandomCoco set = test::make_random_coco(99, {.images = 40});
  compare_with_pycocotools(set, {set.image_ids.begin() + 5, set.image_ids.begin() + 21});
}

// COCOeval marks a match by the annotation's id, so that 0 reads as "unmatched".
TEST(CocoEvaluator, AnnotationIdZeroEqualsPycocotools) {
  if (!test::has_pycocotools()) GTEST_SKIP() << "needs Python with pycocotools";
  RandomCoco set = test::make_random_coco(5, {.images = 8});
  for (auto& annotation : set.annotations["annotations"]) {
    annotation["id"] = annotation["id"].get<int>() - 1;
  }
  compare_with_pycocotools(set, set.image_ids);
}

TEST(CocoEvaluator, ThresholdsAreNumpysToTheLastBit) {
  if (test::python().empty()) GTEST_SKIP() << "needs Python with numpy";
  std::string output;
  ASSERT_EQ(test::run_command("'" + test::python() +
                                  "' -c 'import numpy, json; print(json.dumps([numpy.linspace(.5, "
                                  ".95, 10).tolist(), numpy.linspace(0, 1, 101).tolist()]))'",
                              &output),
            0);
  const auto values = nlohmann::json::parse(output);
  EXPECT_THAT(kIou, testing::ElementsAreArray(values[0].get<std::vector<double>>()));
  EXPECT_THAT(kRecall, testing::ElementsAreArray(values[1].get<std::vector<double>>()));
}

class SmallSet : public testing::Test {
 protected:
  SmallSet() {
    write_file(folder_ / "a.json", R"({
      "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 3, "file_name": "3.jpg"}],
      "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
      "annotations": [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 10, 100, 100]},
        {"id": 2, "image_id": 3, "category_id": 5, "bbox": [0, 0, 50, 50], "iscrowd": 1}]})");
    dataset_ = data::CocoDataset::read(folder_ / "a.json");
  }
  test::TemporaryFolder folder_;
  data::CocoDataset dataset_;
};

TEST_F(SmallSet, PerfectDetectionScoresOne) {
  const std::vector<CocoDetection> detections{{7, 5, 10, 10, 100, 100, 0.9},
                                              {3, 5, 10, 10, 20, 20, 0.95}};  // in the crowd
  const CocoResult result =
      evaluate_coco(dataset_, dataset_.first_image_ids(0), detections, {.keep_matches = true});
  EXPECT_NEAR(result.figures.ap, 1, 1e-12);
  EXPECT_EQ(result.figures.ap_small, -1);
  EXPECT_NEAR(result.figures.ap_large, 1, 1e-12);
  ASSERT_EQ(result.classes.size(), 2U);
  EXPECT_EQ(result.classes[0].name, "cat");
  EXPECT_EQ(result.classes[0].figures.ap, -1);
  EXPECT_EQ(result.classes[1].num_ground_truths, 1);
  EXPECT_EQ(result.classes[1].num_detections, 2);
  // The one in the crowd is neither right nor wrong.
  const auto& records = result.matches.classes[1].detections;
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].true_positive | records[0].false_positive, 0);
  EXPECT_EQ(records[1].true_positive, kAllThresholds);
}

TEST_F(SmallSet, NoDetectionsScoreZero) {
  const CocoResult result = evaluate_coco(dataset_, dataset_.first_image_ids(0), {});
  EXPECT_EQ(result.figures.ap, 0);
  EXPECT_EQ(result.figures.ar100, 0);
  EXPECT_EQ(result.num_detections, 0);
}

TEST_F(SmallSet, NoImagesScoreNothing) {
  const CocoResult result = evaluate_coco(dataset_, {}, {});
  EXPECT_EQ(result.figures.ap, -1);
}

TEST_F(SmallSet, RefusesUnknownImagesAndBadNumbers) {
  const auto ids = dataset_.first_image_ids(0);
  const std::vector<CocoDetection> unknown{{8, 5, 0, 0, 1, 1, 0.5}};
  EXPECT_THROW(evaluate_coco(dataset_, ids, unknown), Error);
  const std::vector<CocoDetection> bad{{7, 5, 0, 0, 1, 1, std::nan("")}};
  EXPECT_THROW(evaluate_coco(dataset_, ids, bad), Error);
  const std::vector<int64_t> missing{7, 8};
  EXPECT_THROW(evaluate_coco(dataset_, missing, {}), Error);
  const std::vector<CocoDetection> other_category{{7, 99, 10, 10, 100, 100, 0.9}};
  EXPECT_EQ(evaluate_coco(dataset_, ids, other_category).num_detections, 0);
}

}  // namespace
}  // namespace yoloquant::eval
