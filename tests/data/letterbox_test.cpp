#include "data/letterbox.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "support/shared_data.h"

namespace yoloquant::data {
namespace {

// A uniform image, so that every pixel inside has one known value.
Image uniform(int width, int height, uint8_t blue, uint8_t green, uint8_t red) {
  Image image(width, height);
  for (size_t i = 0; i < image.bgr.size(); i += 3) {
    image.bgr[i] = blue;
    image.bgr[i + 1] = green;
    image.bgr[i + 2] = red;
  }
  return image;
}

TEST(Letterbox, GoldenImage) {
  YQ_REQUIRE_SHARED();
  const auto golden =
      nlohmann::json::parse(read_file(test::shared_data() / "golden/yolov10n.json"));
  const Image image =
      read_image(test::shared_data() / "coco/val2017" / golden["image"].get<std::string>());
  std::vector<float> input(3 * 640 * 640);
  const Letterbox box = letterbox(image, 640, 640, input);
  const auto& expected = golden["letterbox"];
  EXPECT_EQ(box.scale, expected["scale"]);
  EXPECT_EQ(box.pad_left, expected["pad_left"]);
  EXPECT_EQ(box.pad_top, expected["pad_top"]);
  const double sum = std::accumulate(input.begin(), input.end(), 0.0);
  // JPEG decoders may differ by one level in some pixels, in both directions: in the mean less than
  // a hundredth of a level.
  EXPECT_NEAR(sum / static_cast<double>(input.size()), expected["mean"], 0.01 / 255);
  EXPECT_NEAR(sum, expected["sum"], 0.01 / 255 * static_cast<double>(input.size()));
}

struct FitCase {
  int width, height, input_width, input_height;
  int resized_width, resized_height, left, top;
};

class Fit : public testing::TestWithParam<FitCase> {};

TEST_P(Fit, PlacesTheImage) {
  const FitCase& c = GetParam();
  const Image image = uniform(c.width, c.height, 10, 100, 200);
  std::vector<float> input(static_cast<size_t>(3 * c.input_width * c.input_height), -1);
  const Letterbox box = letterbox(image, c.input_width, c.input_height, input);
  EXPECT_EQ(box.resized_width, c.resized_width);
  EXPECT_EQ(box.resized_height, c.resized_height);
  EXPECT_EQ(box.pad_left, c.left);
  EXPECT_EQ(box.pad_top, c.top);
  const std::array<float, 3> rgb{200 / 255.0F, 100 / 255.0F, 10 / 255.0F};
  for (int channel = 0; channel < 3; ++channel) {
    for (int y = 0; y < c.input_height; ++y) {
      for (int x = 0; x < c.input_width; ++x) {
        const bool inside = x >= c.left && x < c.left + c.resized_width && y >= c.top &&
                            y < c.top + c.resized_height;
        const float value =
            input[static_cast<size_t>((channel * c.input_height + y) * c.input_width + x)];
        ASSERT_EQ(value, inside ? rgb[static_cast<size_t>(channel)] : 114 / 255.0F)
            << channel << ' ' << y << ' ' << x;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Letterbox, Fit,
                         testing::Values(FitCase{640, 426, 640, 640, 640, 426, 0, 107},
                                         FitCase{426, 640, 640, 640, 426, 640, 107, 0},
                                         FitCase{333, 500, 640, 640, 426, 640, 107, 0},
                                         FitCase{100, 101, 64, 64, 63, 64, 0, 0},  // odd rest
                                         FitCase{10, 10, 64, 64, 64, 64, 0, 0},    // enlarged
                                         FitCase{1, 1, 32, 32, 32, 32, 0, 0},
                                         FitCase{1000, 3, 32, 32, 32, 1, 0, 15},
                                         FitCase{5000, 1, 32, 32, 32, 1, 0, 15},  // not to nothing
                                         FitCase{200, 100, 96, 64, 96, 48, 0, 8},
                                         FitCase{100, 200, 96, 64, 32, 64, 32, 0},
                                         // 2.5 rounds to even, as Python's round
                                         FitCase{5, 64, 32, 32, 2, 32, 15, 0}));

TEST(Letterbox, MapsBoxesBackAndClips) {
  const Letterbox box = Letterbox::fit(333, 500, 640, 640);
  const Box original{12.5, 30, 200, 444};
  const Box back = box.to_image(box.to_input(original));
  EXPECT_NEAR(back.x1, original.x1, 1e-9);
  EXPECT_NEAR(back.y1, original.y1, 1e-9);
  EXPECT_NEAR(back.x2, original.x2, 1e-9);
  EXPECT_NEAR(back.y2, original.y2, 1e-9);
  const Box clipped = box.to_image({-50, -50, 1000, 1000});
  EXPECT_EQ(clipped.x1, 0);
  EXPECT_EQ(clipped.y1, 0);
  EXPECT_EQ(clipped.x2, 333);
  EXPECT_EQ(clipped.y2, 500);
}

TEST(Letterbox, EveryLevelIsDividedExactly) {
  Image image(256, 1);
  for (size_t i = 0; i < image.bgr.size(); ++i) image.bgr[i] = static_cast<uint8_t>(i / 3);
  std::vector<float> input(3 * 256);
  letterbox(image, 256, 1, input);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(input[i], static_cast<float>(i) / 255.0F);
}

TEST(Letterbox, RefusesSizesThatDoNotFit) {
  std::vector<float> input(3 * 64);
  EXPECT_THROW(letterbox(Image(4, 4), 8, 9, input), Error);
  EXPECT_THROW(Letterbox::fit(0, 4, 8, 8), Error);
  EXPECT_THROW(Letterbox::fit(4, 4, 8, -8), Error);
}

}  // namespace
}  // namespace yoloquant::data
