#include "data/batch_drawing.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace yoloquant::data {
namespace {

Tile tile(int width, int height, uint8_t level) {
  Tile made{Image(width, height), {}};
  std::ranges::fill(made.image.bgr, level);
  return made;
}

int level(const Image& image, int x, int y) { return image.bgr[size_t(3 * (y * image.width + x))]; }

TEST(BatchDrawing, TilesLieInRows) {
  const std::vector<Tile> tiles{tile(30, 20, 10), tile(30, 20, 20), tile(30, 20, 30)};
  const Image grid = draw_grid(tiles);
  EXPECT_EQ(grid.width, 60);
  EXPECT_EQ(grid.height, 40);
  EXPECT_EQ(level(grid, 15, 10), 10);
  EXPECT_EQ(level(grid, 45, 10), 20);
  EXPECT_EQ(level(grid, 15, 30), 30);
  EXPECT_EQ(level(grid, 45, 30), 255);
}

TEST(BatchDrawing, LargeGridsAreCutAndShrunk) {
  const std::vector<Tile> tiles(20, tile(100, 100, 9));
  EXPECT_EQ(draw_grid(tiles).width, 400);
  const Image small = draw_grid(tiles, {.max_tiles = 9, .max_side = 90});
  EXPECT_EQ(small.width, 90);
  EXPECT_EQ(level(small, 75, 75), 9);
  EXPECT_THROW(draw_grid({}), Error);
}

TEST(BatchDrawing, TitlesStandAboveTheirTiles) {
  std::vector<Tile> tiles{tile(100, 20, 10), tile(100, 20, 20), tile(100, 20, 30)};
  tiles[1].title = "second";
  const Image grid = draw_grid(tiles, {.columns = 3});
  EXPECT_EQ(grid.width, 300);
  const int bar = grid.height - 20;
  EXPECT_GT(bar, 10);
  EXPECT_EQ(level(grid, 250, bar + 10), 30);
  const auto has_text = [&](int left) {
    for (int y = 0; y < bar; ++y) {
      for (int x = left; x < left + 100; ++x) {
        if (level(grid, x, y) < 128) return true;
      }
    }
    return false;
  };
  EXPECT_FALSE(has_text(0));
  EXPECT_TRUE(has_text(100));
}

TEST(BatchDrawing, BoxesMoveWithTheirTile) {
  std::vector<Tile> tiles{tile(200, 200, 0), tile(200, 200, 0)};
  tiles[1].boxes = {{{100, 120, 160, 180}, 0, ""}};
  const Image grid = draw_grid(tiles, {.max_side = 200});  // half as large
  const auto is_line = [&](int x, int y) { return level(grid, x, y) > 20; };
  EXPECT_TRUE(is_line(100 + 50, 75));
  EXPECT_TRUE(is_line(100 + 80, 75));
  EXPECT_TRUE(is_line(100 + 65, 60));
  EXPECT_TRUE(is_line(100 + 65, 90));
  EXPECT_FALSE(is_line(100 + 65, 75));
  EXPECT_FALSE(is_line(50, 75));
}

TEST(BatchDrawing, TilesOfABatch) {
  TrainBatch batch;
  batch.count = 2;
  batch.size = 4;
  batch.pixels.assign(2 * 3 * 16, 0);
  batch.pixels[3 * 16] = 200;  // red of the second image's first pixel
  batch.labels = {{1, 1, 0.5F, 0.5F, 0.5F, 0.25F}, {1, 7, 0.5F, 0.5F, 1, 1}};
  const std::vector<std::string> names{"cat", "dog"};
  const std::vector<Tile> tiles = batch_tiles(batch, names);
  ASSERT_EQ(tiles.size(), 2U);
  EXPECT_TRUE(tiles[0].boxes.empty());
  EXPECT_EQ(tiles[1].image.bgr[2], 200);
  ASSERT_EQ(tiles[1].boxes.size(), 2U);
  EXPECT_EQ(tiles[1].boxes[0].label, "dog");
  EXPECT_EQ(tiles[1].boxes[1].label, "7");
  EXPECT_DOUBLE_EQ(tiles[1].boxes[0].box.x1, 1);
  EXPECT_DOUBLE_EQ(tiles[1].boxes[0].box.y2, 2.5);
}

}  // namespace
}  // namespace yoloquant::data
