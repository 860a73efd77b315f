#include "data/picture.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/error.h"

namespace yoloquant::data {
namespace {

std::array<int, 3> rgb(const Image& image, int x, int y) {
  const size_t at = (static_cast<size_t>(y) * image.width + x) * 3;
  return {image.bgr[at + 2], image.bgr[at + 1], image.bgr[at]};
}

constexpr std::array<int, 3> kWhite{255, 255, 255};

TEST(Picture, ShapesLieWhereTheyShould) {
  Picture picture{.width = 40, .height = 20, .shapes = {}};
  picture.shapes.emplace_back(Polyline{{{0, 5}, {20, 5}}, 0xFF0000, 2});
  picture.shapes.emplace_back(Disc{{30, 10}, 4, 0x0000FF});
  const Image image = rasterize(picture, 3);
  EXPECT_EQ(image.width, 120);
  EXPECT_EQ(image.height, 60);
  EXPECT_EQ(rgb(image, 30, 15), (std::array<int, 3>{255, 0, 0}));
  EXPECT_EQ(rgb(image, 90, 30), (std::array<int, 3>{0, 0, 255}));
  EXPECT_EQ(rgb(image, 70, 15), kWhite);
  EXPECT_EQ(rgb(image, 90, 50), kWhite);
}

// Columns of dark pixels: first and last.
std::array<int, 2> extent(const Image& image) {
  std::array<int, 2> columns{-1, -1};
  for (int x = 0; x < image.width; ++x) {
    for (int y = 0; y < image.height; ++y) {
      if (rgb(image, x, y)[0] > 128) continue;
      if (columns[0] < 0) columns[0] = x;
      columns[1] = x;
    }
  }
  return columns;
}

TEST(Picture, TextIsAnchored) {
  const auto columns_of = [](Caption::Anchor anchor) {
    Picture picture{.width = 200, .height = 30, .shapes = {}};
    picture.shapes.emplace_back(Caption{{100, 20}, anchor, "HHHH", 12, 0, false});
    return extent(rasterize(picture, 2));
  };
  const auto start = columns_of(Caption::Anchor::kStart);
  const auto middle = columns_of(Caption::Anchor::kMiddle);
  const auto end = columns_of(Caption::Anchor::kEnd);
  EXPECT_GE(start[0], 199);
  EXPECT_LE(end[1], 201);
  EXPECT_NEAR((middle[0] + middle[1]) / 2.0, 200, 3);
  // Four letters of 12 pixels, at twice the size.
  EXPECT_NEAR(start[1] - start[0], 4 * 12 * 2 * 0.72, 12);
}

TEST(Picture, BearsCoordinatesThatMakeNoSense) {
  Picture picture{.width = 10, .height = 10, .shapes = {}};
  picture.shapes.emplace_back(Polyline{{{std::nan(""), 1e300}, {-1e300, 5}}, 0, 1e9});
  picture.shapes.emplace_back(Polyline{});
  picture.shapes.emplace_back(Disc{{5, 5}, HUGE_VAL, 0});
  picture.shapes.emplace_back(Caption{{1, 1}, Caption::Anchor::kStart, "\xC3\xA4\n", 12, 0, true});
  EXPECT_EQ(rasterize(picture).width, 20);
  picture.width = 1e9;
  EXPECT_THROW(rasterize(picture), Error);
  picture.width = 0;
  EXPECT_THROW(rasterize(picture), Error);
}

}  // namespace
}  // namespace yoloquant::data
