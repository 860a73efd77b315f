#include "eval/fidelity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "eval/detections_json.h"
#include "support/shared_data.h"

namespace yoloquant::eval {
namespace {

using testing::ElementsAre;

using Images = std::vector<std::vector<Detection>>;

const std::vector<std::string> kNames{"cat", "dog", "owl"};
constexpr int32_t kCat = 0;
constexpr int32_t kDog = 1;
constexpr int32_t kOwl = 2;

// Random boxes on images of 100 x 100 pixels, some too small to have an area.
Images random_detections(uint64_t seed, size_t images, size_t boxes) {
  Random random(seed);
  const auto uniform = [&] { return static_cast<float>(random.uniform()); };
  Images result(images);
  for (auto& of_image : result) {
    for (size_t i = 0; i < boxes; ++i) {
      const float x = 80 * uniform();
      const float y = 80 * uniform();
      const float width = std::max(0.0F, 20 * uniform() - 1);
      of_image.push_back({x, y, x + width, y + 1 + 19 * uniform(), uniform(),
                          static_cast<int32_t>(random.below(kNames.size()))});
    }
  }
  return result;
}

// Boxes moved by up to `pixels`, scores by a tenth of that.
Images shaken(Images images, uint64_t seed, float pixels) {
  Random random(seed);
  const auto shake = [&] { return pixels * (2 * static_cast<float>(random.uniform()) - 1); };
  for (auto& of_image : images) {
    for (Detection& d : of_image) {
      d.x1 += shake();
      d.y2 += shake();
      d.score = std::clamp(d.score + shake() / 10, 0.0F, 1.0F);
    }
  }
  return images;
}

std::vector<int64_t> image_ids(const Fidelity& result) {
  std::vector<int64_t> ids;
  for (const ImageFidelity& image : result.images) ids.push_back(image.image_id);
  return ids;
}

const FidelityFigures& of_class(const Fidelity& result, const std::string& name) {
  for (const ClassFidelity& item : result.classes) {
    if (item.name == name) return item.figures;
  }
  throw Error("no class " + name);
}

// A cat of two is not found; a dog is found with an overlap of .82, enough for 7 of 10 thresholds;
// where the reference sees nothing, a cat is found.
Images small_reference() {
  return {{{0, 0, 10, 10, 0.9F, kCat}, {20, 0, 30, 10, 0.8F, kCat}},
          {{0, 0, 10, 10, 0.7F, kDog}},
          {{0, 0, 10, 10, 0.1F, kOwl}}};
}
Images small_candidate(float extra_score) {
  return {{{0, 0, 10, 10, 0.85F, kCat}},
          {{0, 0, 10, 8.2F, 0.6F, kDog}},
          {{0, 0, 10, 10, extra_score, kCat}}};
}
// Half of the cats: 51 of COCO's 101 recalls are reached.
constexpr double kHalf = 51.0 / 101;

TEST(Fidelity, SmallCaseByHand) {
  const Fidelity result = measure_fidelity(small_reference(), small_candidate(0.5F), kNames);
  EXPECT_NEAR(result.figures.fidelity, (kHalf + 0.7) / 2, 1e-12);
  EXPECT_NEAR(result.figures.fidelity_50, (kHalf + 1) / 2, 1e-12);
  EXPECT_EQ(result.figures.reference_boxes, 3);
  EXPECT_EQ(result.figures.missed, 1);
  EXPECT_EQ(result.figures.extra, 1);
  EXPECT_EQ(result.num_images, 3);
  EXPECT_EQ(result.images_without_reference, 1);
  // The class that the reference does not see is no part of the mean.
  EXPECT_EQ(of_class(result, "owl").fidelity, -1);
  EXPECT_NEAR(of_class(result, "cat").fidelity, kHalf, 1e-12);
  EXPECT_EQ(of_class(result, "cat").missed, 1);
  EXPECT_NEAR(of_class(result, "dog").fidelity, 0.7, 1e-12);
  EXPECT_EQ(result.classes.front().name, "cat");
  EXPECT_EQ(result.classes.back().name, "owl");
}

TEST(Fidelity, ImagesComeWorstFirst) {
  const Fidelity result = measure_fidelity(small_reference(), small_candidate(0.5F), kNames);
  EXPECT_THAT(image_ids(result), ElementsAre(0, 1, 2));
  EXPECT_NEAR(result.images[0].figures.fidelity, kHalf, 1e-12);
  EXPECT_NEAR(result.images[1].figures.fidelity, 0.7, 1e-12);
  EXPECT_EQ(result.images[2].figures.fidelity, -1);
  EXPECT_EQ(result.images[2].figures.extra, 1);
  Images better = small_candidate(0.5F);
  better[0] = small_reference()[0];
  EXPECT_THAT(image_ids(measure_fidelity(small_reference(), better, kNames)), ElementsAre(1, 0, 2));
}

// The extra cat of another image comes before the true one now: precision 1/2 where it was 1.
TEST(Fidelity, FalsePositivesOfImagesWithoutReferenceCount) {
  const Fidelity result = measure_fidelity(small_reference(), small_candidate(0.95F), kNames);
  EXPECT_NEAR(of_class(result, "cat").fidelity, kHalf / 2, 1e-12);
  EXPECT_NEAR(result.images[0].figures.fidelity, kHalf, 1e-12);
  EXPECT_NEAR(result.image_mean, (kHalf + 0.7) / 2, 1e-12);
}

// A box below the reference's score is found as COCO sees it, but missed at that score.
TEST(Fidelity, MissedAndExtraAreAtTheScoreOfTheReference) {
  Images candidate = small_candidate(0.2F);
  candidate[0].push_back({20, 0, 30, 10, 0.24F, kCat});
  Fidelity result = measure_fidelity(small_reference(), candidate, kNames);
  EXPECT_NEAR(of_class(result, "cat").fidelity_50, 1, 1e-12);
  EXPECT_EQ(result.figures.missed, 1);
  EXPECT_EQ(result.figures.extra, 0);
  result = measure_fidelity(small_reference(), candidate, kNames, {.reference_score = 0.1});
  EXPECT_EQ(result.figures.reference_boxes, 4);
  EXPECT_EQ(result.figures.missed, 1);  // the owl
  EXPECT_EQ(result.figures.extra, 1);
  EXPECT_EQ(of_class(result, "owl").fidelity, 0);
}

// Also with more boxes of a class than COCO counts, and with boxes without area.
TEST(Fidelity, OfAModelToItselfIsOne) {
  const Images images = random_detections(1, 4, 600);
  const Fidelity result = measure_fidelity(images, images, kNames, {.resamples = 20});
  EXPECT_NEAR(result.figures.fidelity, 1, 1e-12);
  EXPECT_NEAR(result.figures.fidelity_50, 1, 1e-12);
  EXPECT_EQ(result.figures.reference_boxes, 1200);
  EXPECT_EQ(result.figures.missed, 0);
  EXPECT_NEAR(result.intervals->map_50_95.low, 1, 1e-12);
  EXPECT_NEAR(result.intervals->map_50_95.high, 1, 1e-12);
  for (const ImageFidelity& image : result.images) EXPECT_NEAR(image.figures.fidelity, 1, 1e-12);
  const Images few = random_detections(1, 4, 30);
  EXPECT_EQ(measure_fidelity(few, few, kNames, {.resamples = 0}).figures.extra, 0);
}

TEST(Fidelity, AMissingClassScoresZero) {
  const Images reference = random_detections(2, 10, 20);
  Images candidate = reference;
  for (auto& image : candidate) {
    std::erase_if(image, [](const Detection& d) { return d.class_id == kDog; });
  }
  const Fidelity result = measure_fidelity(reference, candidate, kNames);
  EXPECT_NEAR(result.figures.fidelity, 2.0 / 3, 1e-12);
  EXPECT_EQ(result.classes.front().name, "dog");
  EXPECT_EQ(result.classes.front().figures.fidelity, 0);
  EXPECT_EQ(result.classes.front().figures.missed, result.figures.missed);
  EXPECT_EQ(result.classes.front().figures.missed, result.classes.front().figures.reference_boxes);
}

TEST(Fidelity, IntervalHoldsTheEstimateAndIsRepeatable) {
  const Images reference = random_detections(3, 40, 10);
  const Images candidate = shaken(reference, 4, 3);
  const Fidelity one = measure_fidelity(reference, candidate, kNames, {.seed = 5});
  const Fidelity four = measure_fidelity(reference, candidate, kNames, {.seed = 5, .threads = 4});
  const Interval& interval = one.intervals->map_50_95;
  EXPECT_NEAR(interval.estimate, one.figures.fidelity, 1e-12);
  EXPECT_NEAR(one.intervals->map_50.estimate, one.figures.fidelity_50, 1e-12);
  EXPECT_LT(interval.low, one.figures.fidelity);
  EXPECT_GT(interval.high, one.figures.fidelity);
  EXPECT_LT(one.figures.fidelity, 1);
  EXPECT_EQ(interval.low, four.intervals->map_50_95.low);
  EXPECT_EQ(one.figures.fidelity, four.figures.fidelity);
}

TEST(Fidelity, FallsAsDetectionsDiffer) {
  const Images reference = random_detections(6, 20, 10);
  double last = 1;
  for (const float pixels : {0.5F, 2.0F, 8.0F}) {
    const Fidelity result = measure_fidelity(reference, shaken(reference, 7, pixels), kNames);
    EXPECT_LT(result.figures.fidelity, last);
    last = result.figures.fidelity;
  }
}

// With one image, the whole and the image are the same.
TEST(Fidelity, OneImageIsTheWhole) {
  const Images reference = random_detections(8, 1, 40);
  const Fidelity result = measure_fidelity(reference, shaken(reference, 9, 2), kNames);
  EXPECT_NEAR(result.images[0].figures.fidelity, result.figures.fidelity, 1e-12);
  EXPECT_NEAR(result.images[0].figures.fidelity_50, result.figures.fidelity_50, 1e-12);
  EXPECT_EQ(result.images[0].figures.missed, result.figures.missed);
}

TEST(Fidelity, UndefinedWhereTheReferenceSeesNothing) {
  const Images nothing(3);
  const Fidelity result = measure_fidelity(nothing, random_detections(10, 3, 5), kNames);
  EXPECT_EQ(result.figures.fidelity, -1);
  EXPECT_EQ(result.image_mean, -1);
  EXPECT_FALSE(result.intervals);
  EXPECT_EQ(result.images_without_reference, 3);
  EXPECT_GT(result.figures.extra, 0);
  EXPECT_EQ(measure_fidelity(Images(), Images(), kNames).num_images, 0);
}

TEST(Fidelity, BadRequests) {
  EXPECT_THROW(measure_fidelity(Images(2), Images(3), kNames), Error);
  EXPECT_THROW(measure_fidelity(Images{{{0, 0, 1, 1, 0.5F, 3}}}, Images(1), kNames), Error);
  const std::vector<data::CocoCategory> categories{{1, "cat"}};
  const std::vector<int64_t> twice{4, 4};
  EXPECT_THROW(measure_fidelity({}, {}, categories, twice), Error);
}

// Ids of COCO's kind; what is on other images or of other categories does not count.
TEST(Fidelity, TakesCocoDetections) {
  const std::vector<data::CocoCategory> categories{{18, "dog"}, {3, "car"}};
  const std::vector<int64_t> ids{900, 4};
  const std::vector<CocoDetection> reference{
      {900, 18, 0, 0, 10, 10, 0.9}, {4, 3, 5, 5, 10, 10, 0.3}, {7, 3, 5, 5, 10, 10, 0.3}};
  const std::vector<CocoDetection> candidate{
      {900, 18, 0, 0, 10, 10, 0.9}, {4, 99, 5, 5, 10, 10, 0.3}, {7, 3, 5, 5, 9, 9, 0.3}};
  const Fidelity result = measure_fidelity(reference, candidate, categories, ids);
  EXPECT_NEAR(result.figures.fidelity, 0.5, 1e-12);
  EXPECT_EQ(result.figures.reference_boxes, 2);
  EXPECT_EQ(result.figures.missed, 1);
  EXPECT_EQ(result.figures.extra, 0);
  EXPECT_THAT(image_ids(result), ElementsAre(4, 900));
  EXPECT_EQ(result.classes.front().category_id, 3);
}

// What pycocotools gives for the one2one head's detections on 50 images, with those of the one2many
// head from .25 on as ground truth.
TEST(Fidelity, OfRealHeadsIsWhatPycocotoolsSays) {
  YQ_REQUIRE_SHARED();
  const auto shared = test::shared_data();
  const auto dataset = data::CocoDataset::open(shared / "coco", "val2017");
  const std::vector<int64_t> ids = dataset.first_image_ids(50);
  const auto result =
      measure_fidelity(read_detections(shared / "golden/coco50_one2many_detections.json"),
                       read_detections(shared / "golden/coco50_one2one_detections.json"),
                       dataset.categories(), ids, {.resamples = 20});
  EXPECT_EQ(result.figures.reference_boxes, 223);
  EXPECT_NEAR(result.figures.fidelity, 0.9953825318508053, 1e-12);
}

}  // namespace
}  // namespace yoloquant::eval
