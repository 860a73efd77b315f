#include "data/augment.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "data/shapes.h"
#include "data/train_sample.h"

namespace yoloquant::data {
namespace {

using testing::HasSubstr;

constexpr int kSize = 64;

Image plain(int width, int height, uint8_t level) {
  Image image(width, height);
  std::ranges::fill(image.bgr, level);
  return image;
}

std::array<int, 3> pixel(const Image& image, int x, int y) {
  const uint8_t* at = image.bgr.data() + 3 * (y * image.width + x);
  return {at[0], at[1], at[2]};
}

std::array<int, 3> grey(int level) { return {level, level, level}; }

// The box around all pixels of a level.
Box extent(const Image& image, int level) {
  Box box{1e9, 1e9, -1, -1};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (pixel(image, x, y) != grey(level)) continue;
      box = {std::min(box.x1, double(x)), std::min(box.y1, double(y)), std::max(box.x2, x + 1.0),
             std::max(box.y2, y + 1.0)};
    }
  }
  return box;
}

void expect_near(const Box& a, const Box& b, double bound) {
  EXPECT_NEAR(a.x1, b.x1, bound);
  EXPECT_NEAR(a.y1, b.y1, bound);
  EXPECT_NEAR(a.x2, b.x2, bound);
  EXPECT_NEAR(a.y2, b.y2, bound);
}

LabeledView view(Image image, const std::vector<YoloLabel>& labels) {
  return {std::make_shared<const Image>(std::move(image)), labels};
}

// A white rectangle on black with its label, as an object that can be seen.
struct Scene {
  Image image;
  std::vector<YoloLabel> labels;
};

Scene scene(int width, int height, int x1, int y1, int x2, int y2) {
  Scene made{Image(width, height), {}};
  for (int y = y1; y < y2; ++y) {
    for (int x = 3 * x1; x < 3 * x2; ++x) made.image.bgr[size_t(3 * width * y + x)] = 255;
  }
  made.labels = {{2, (x1 + x2) / 2.0 / width, (y1 + y2) / 2.0 / height, double(x2 - x1) / width,
                  double(y2 - y1) / height}};
  return made;
}

TEST(Augment, LongerSideIsResizedTheOtherRoundedUp) {
  const Image wide = resize_longer_side(plain(100, 33, 7), kSize);
  EXPECT_EQ(wide.width, 64);
  EXPECT_EQ(wide.height, 22);  // 21.12
  EXPECT_EQ(resize_longer_side(plain(3, 500, 7), kSize).width, 1);
  EXPECT_EQ(resize_longer_side(plain(20, 64, 7), kSize).height, 64);
  EXPECT_EQ(resize_longer_side(plain(10, 20, 7), kSize).width, 32);
}

TEST(Augment, PaddingMovesBoxes) {
  const Scene s = scene(64, 31, 8, 4, 24, 20);
  const Sample padded = pad_to_square(view(s.image, s.labels), kSize);
  EXPECT_EQ(pixel(padded.image, 0, 15), grey(114));
  EXPECT_EQ(pixel(padded.image, 0, 16), grey(0));
  ASSERT_EQ(padded.objects.size(), 1U);
  expect_near(padded.objects[0].box, {8, 20, 24, 36}, 1e-9);
  expect_near(extent(padded.image, 255), {8, 20, 24, 36}, 0);
}

TEST(Augment, MosaicPutsFourImagesAroundTheCentre) {
  const std::vector<YoloLabel> whole{{0, 0.5, 0.5, 1, 1}};
  const Sample made = mosaic({view(plain(64, 40, 10), whole), view(plain(30, 64, 20), whole),
                              view(plain(64, 64, 30), whole), view(plain(50, 20, 40), whole)},
                             kSize, 40, 90);
  EXPECT_EQ(made.image.width, 128);
  expect_near(extent(made.image, 10), {0, 50, 40, 90}, 0);  // 24 columns cut off
  expect_near(extent(made.image, 20), {40, 26, 70, 90}, 0);
  expect_near(extent(made.image, 30), {0, 90, 40, 128}, 0);
  expect_near(extent(made.image, 40), {40, 90, 90, 110}, 0);
  EXPECT_EQ(pixel(made.image, 120, 10), grey(114));
  ASSERT_EQ(made.objects.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    expect_near(made.objects[i].box, extent(made.image, 10 * (int(i) + 1)), 1e-9);
  }
}

TEST(Augment, MosaicDropsBoxesThatAreCutOff) {
  const std::vector<YoloLabel> left{{0, 0.1, 0.5, 0.1, 0.1}};
  const std::vector<YoloLabel> none;
  const auto empty = view(plain(8, 8, 1), none);
  EXPECT_TRUE(
      mosaic({view(plain(64, 64, 1), left), empty, empty, empty}, kSize, 32, 64).objects.empty());
}

// Ultralytics: T S R P C, around the centre of the source, to the centre of the result.
TEST(Augment, RandomWarpKeepsTheCentreAndTheRanges) {
  AugmentOptions options = AugmentOptions::none();
  options.scale = 0.5;
  options.degrees = 30;
  Random random(1);
  double least = 9;
  double most = 0;
  for (int i = 0; i < 500; ++i) {
    const Warp by = random_warp(options, 128, 100, kSize, random);
    const auto& m = by.matrix;
    EXPECT_NEAR(m[0] * 64 + m[1] * 50 + m[2], 32, 1e-9);
    EXPECT_NEAR(m[3] * 64 + m[4] * 50 + m[5], 32, 1e-9);
    EXPECT_NEAR(std::hypot(m[0], m[1]), by.scale, 1e-9);
    EXPECT_LE(std::abs(std::atan2(m[1], m[0])), 0.5237);
    least = std::min(least, by.scale);
    most = std::max(most, by.scale);
  }
  EXPECT_GE(least, 0.5);
  EXPECT_LT(least, 0.52);
  EXPECT_LE(most, 1.5);
  EXPECT_GT(most, 1.48);
  options = AugmentOptions::none();
  options.translate = 0.1;
  double farthest = 0;
  for (int i = 0; i < 500; ++i) {
    farthest = std::max(farthest, std::abs(random_warp(options, 64, 64, kSize, random).matrix[2]));
  }
  EXPECT_LE(farthest, 6.4);
  EXPECT_GT(farthest, 6.2);
}

// What was drawn is what the label says, whatever moves it.
TEST(Augment, WarpedBoxesLieAroundWarpedPixels) {
  const Scene s = scene(64, 64, 20, 24, 44, 40);
  const Sample source = pad_to_square(view(s.image, s.labels), kSize);
  AugmentOptions options = AugmentOptions::none();
  options.scale = 0.3;
  options.translate = 0.1;
  Random random(3);
  for (int i = 0; i < 50; ++i) {
    options.degrees = i % 2 == 0 ? 0 : 20;
    options.shear = i % 3 == 0 ? 0 : 8;
    options.perspective = i % 5 == 0 ? 0.001 : 0;
    const Sample made = warp(source, random_warp(options, kSize, kSize, kSize, random), kSize);
    ASSERT_EQ(made.objects.size(), 1U);
    Box seen{1e9, 1e9, -1, -1};  // brighter than half
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) {
        if (pixel(made.image, x, y)[0] < 128) continue;
        seen = {std::min(seen.x1, double(x)), std::min(seen.y1, double(y)),
                std::max(seen.x2, x + 1.0), std::max(seen.y2, y + 1.0)};
      }
    }
    expect_near(made.objects[0].box, seen, 2.0);
  }
}

TEST(Augment, BoxFilter) {
  const Box before{0, 0, 20, 20};
  EXPECT_TRUE(is_candidate(before, {0, 0, 7, 7}));
  EXPECT_FALSE(is_candidate(before, {0, 0, 6, 6}));   // 9 % of the area
  EXPECT_FALSE(is_candidate(before, {0, 0, 20, 2}));  // too thin
  EXPECT_TRUE(is_candidate(before, {0, 0, 20, 2.1}));
  EXPECT_FALSE(is_candidate({0, 0, 400, 3}, {0, 0, 300, 2.9}));  // aspect 103
  EXPECT_FALSE(is_candidate({}, {}));
}

// The area before counts as scaled: shrinking alone drops nothing.
TEST(Augment, ShrinkingKeepsBoxes) {
  const Scene s = scene(64, 64, 20, 20, 44, 44);
  const Sample source = pad_to_square(view(s.image, s.labels), kSize);
  const Warp shrink{{0.25, 0, 24, 0, 0.25, 24, 0, 0, 1}, 0.25};
  ASSERT_EQ(warp(source, shrink, kSize).objects.size(), 1U);
  expect_near(warp(source, shrink, kSize).objects[0].box, {29, 29, 35, 35}, 1e-9);
  const Warp away{{1, 0, 42, 0, 1, 0, 0, 0, 1}, 1};
  EXPECT_TRUE(warp(source, away, kSize).objects.empty());  // 2 of 24 columns left
}

TEST(Augment, HsvGains) {
  Image red(1, 1);
  red.bgr = {0, 0, 200};
  Image changed = red;
  multiply_hsv(changed, 1, 1, 1);
  EXPECT_EQ(changed.bgr, red.bgr);
  multiply_hsv(changed, 1, 1, 0.5);
  EXPECT_EQ(changed.bgr, (std::vector<uint8_t>{0, 0, 100}));
  multiply_hsv(changed, 1, 0, 1);
  EXPECT_EQ(changed.bgr, (std::vector<uint8_t>{100, 100, 100}));
  changed.bgr = {0, 200, 0};  // hue 60 of 180
  multiply_hsv(changed, 2, 1, 1);
  EXPECT_EQ(changed.bgr, (std::vector<uint8_t>{200, 0, 0}));
  multiply_hsv(changed, 1, 1, 2);
  EXPECT_EQ(changed.bgr, (std::vector<uint8_t>{255, 0, 0}));
}

TEST(Augment, FlipsMoveBoxesWithPixels) {
  const Scene s = scene(64, 64, 4, 8, 24, 40);
  Sample sample = pad_to_square(view(s.image, s.labels), kSize);
  flip_left_right(sample);
  expect_near(sample.objects[0].box, {40, 8, 60, 40}, 1e-9);
  expect_near(extent(sample.image, 255), {40, 8, 60, 40}, 0);
  flip_upside_down(sample);
  expect_near(sample.objects[0].box, {40, 24, 60, 56}, 1e-9);
  expect_near(extent(sample.image, 255), {40, 24, 60, 56}, 0);
}

TEST(Augment, MixBlendsAndKeepsAllObjects) {
  Sample a{plain(8, 8, 200), {{0, {1, 1, 2, 2}}}};
  mix(a, {plain(8, 8, 101), {{1, {3, 3, 4, 4}}}}, 0.25);
  EXPECT_EQ(pixel(a.image, 3, 3), grey(125));  // 125.75
  EXPECT_EQ(a.objects.size(), 2U);
  EXPECT_THROW(mix(a, {plain(4, 4, 1), {}}, 0.5), Error);
}

// Beta(32, 32): mean 1/2, variance 1/4 / 65.
TEST(Augment, MixRatioHasItsDistribution) {
  Random random(5);
  double sum = 0;
  double squares = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const double off = random_mix_ratio(random) - 0.5;
    sum += off;
    squares += off * off;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.005);
  EXPECT_NEAR(squares / kDraws, 0.25 / 65, 0.0004);
}

TEST(Augment, HyperparametersAreChecked) {
  AugmentOptions options;
  check_augmentation(options);
  options.perspective = 0.01;
  try {
    check_augmentation(options);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("perspective is 0.01: it must lie in 0..0.001"));
  }
  options = {};
  options.mosaic = std::nan("");
  EXPECT_THROW(check_augmentation(options), Error);
}

class MakeSample : public testing::Test {
 protected:
  MakeSample() {
    for (uint64_t i = 0; i < 5; ++i) {
      ShapesImage rendered = render_shapes(48, 64, 3, i);
      images_.push_back(std::make_shared<const Image>(std::move(rendered.image)));
    }
  }
  Sample make(const AugmentOptions& options, uint64_t seed) {
    const SampleSource source{[this](size_t i) {
                                ++loads_;
                                return LabeledView{images_[i], labels_};
                              },
                              [](Random& random) { return random.below(5); }};
    return make_sample(source, 1, kSize, options, Random(seed));
  }
  std::vector<std::shared_ptr<const Image>> images_;
  std::vector<YoloLabel> labels_{{0, 0.5, 0.5, 0.5, 0.5}};
  int loads_ = 0;
};

TEST_F(MakeSample, WithoutAugmentationItIsPadding) {
  const Sample made = make(AugmentOptions::none(), 1);
  EXPECT_EQ(made.image.bgr, pad_to_square({images_[1], labels_}, kSize).image.bgr);
  EXPECT_EQ(loads_, 1);
}

TEST_F(MakeSample, IsAFunctionOfItsRandomNumbers) {
  const AugmentOptions options{.mixup = 0.5};
  EXPECT_EQ(make(options, 1).image.bgr, make(options, 1).image.bgr);
  EXPECT_NE(make(options, 1).image.bgr, make(options, 2).image.bgr);
}

TEST_F(MakeSample, MosaicTakesFourImagesMixupEight) {
  make(AugmentOptions(), 1);
  EXPECT_EQ(loads_, 4);
  make({.mixup = 1}, 1);
  EXPECT_EQ(loads_, 12);
  make(AugmentOptions{.mixup = 1}.without_mosaic(), 1);
  EXPECT_EQ(loads_, 13);
}

TEST_F(MakeSample, BoxesStayInsideAndHaveASize) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const ObjectBox& object : make({.degrees = 10, .flipud = 0.5}, seed).objects) {
      EXPECT_GE(object.box.x1, 0);
      EXPECT_GE(object.box.y1, 0);
      EXPECT_LE(object.box.x2, kSize);
      EXPECT_LE(object.box.y2, kSize);
      EXPECT_GT(object.box.width(), 2);
    }
  }
}

TEST(Planes, RedGreenBlueAndBack) {
  Image image(2, 1);
  image.bgr = {1, 2, 3, 4, 5, 6};
  std::vector<uint8_t> planes(6);
  to_planes(image, planes);
  EXPECT_EQ(planes, (std::vector<uint8_t>{3, 6, 2, 5, 1, 4}));
  EXPECT_EQ(from_planes(planes, 2, 1).bgr, image.bgr);
  planes.pop_back();
  EXPECT_THROW(to_planes(image, planes), Error);
}

}  // namespace
}  // namespace yoloquant::data
