#include "data/batch_drawing.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "data/opencv.h"
#include "data/train_sample.h"

namespace yoloquant::data {
namespace {

// The tile with its boxes drawn, after shrinking so that lines and letters stay sharp.
Image draw_tile(const Tile& tile, double scale) {
  const auto scaled = [&](int side) { return std::max(1, static_cast<int>(side * scale)); };
  Image image(scaled(tile.image.width), scaled(tile.image.height));
  cv::Mat pixels = as_matrix(image);
  cv::resize(as_matrix(tile.image), pixels, pixels.size(), 0, 0,
             scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
  std::vector<LabeledBox> boxes = tile.boxes;
  for (LabeledBox& item : boxes) {
    Box& box = item.box;
    box = {box.x1 * scale, box.y1 * scale, box.x2 * scale, box.y2 * scale};
  }
  draw_boxes(image, boxes);
  return image;
}

constexpr int kTitleHeight = 24;  // pixels of the grid

void draw_title(cv::Mat& pixels, const std::string& title, int left, int top) {
  cv::putText(pixels, title, {left + 6, top + kTitleHeight - 7}, cv::FONT_HERSHEY_SIMPLEX, 0.5,
              cv::Scalar(40, 40, 40), 1, cv::LINE_AA);
}

int column_count(const GridOptions& options, size_t tiles) {
  if (options.columns > 0) return options.columns;
  return static_cast<int>(std::ceil(std::sqrt(static_cast<double>(tiles))));
}

}  // namespace

Image draw_grid(std::span<const Tile> tiles, const GridOptions& options) {
  tiles = tiles.first(std::min(tiles.size(), options.max_tiles));
  if (tiles.empty()) fail("there is no image to draw");
  configure_opencv();
  const int columns = column_count(options, tiles.size());
  const int rows = (static_cast<int>(tiles.size()) + columns - 1) / columns;
  int width = 0;
  int height = 0;
  int bar = 0;
  for (const Tile& tile : tiles) {
    width = std::max(width, tile.image.width);
    height = std::max(height, tile.image.height);
    if (!tile.title.empty()) bar = kTitleHeight;
  }
  const int room = std::max(1, options.max_side - rows * bar);
  const double scale = std::min({1.0, static_cast<double>(options.max_side) / (columns * width),
                                 static_cast<double>(room) / (rows * height)});
  width = std::max(1, static_cast<int>(width * scale));
  height = std::max(1, static_cast<int>(height * scale));
  Image grid(columns * width, rows * (bar + height));
  std::ranges::fill(grid.bgr, static_cast<uint8_t>(255));
  cv::Mat pixels = as_matrix(grid);
  for (size_t i = 0; i < tiles.size(); ++i) {
    const int left = static_cast<int>(i) % columns * width;
    const int row = static_cast<int>(i) / columns * (bar + height);
    const int top = row + bar;
    draw_title(pixels, tiles[i].title, left, row);
    const Image image = draw_tile(tiles[i], scale);
    as_matrix(image).copyTo(pixels(cv::Rect(left, top, image.width, image.height)));
    cv::rectangle(pixels, cv::Rect(left, top, width, height), cv::Scalar(255, 255, 255));
  }
  return grid;
}

std::vector<Tile> batch_tiles(const TrainBatch& batch, std::span<const std::string> names) {
  std::vector<Tile> tiles(static_cast<size_t>(batch.count));
  const size_t bytes = batch.count > 0 ? batch.pixels.size() / tiles.size() : 0;
  const auto side = static_cast<int>(batch.size);
  for (size_t i = 0; i < tiles.size(); ++i) {
    tiles[i].image = from_planes(std::span(batch.pixels).subspan(i * bytes, bytes), side, side);
  }
  for (const BatchLabel& label : batch.labels) {
    const auto class_id = static_cast<size_t>(label.class_id);
    const double x = static_cast<double>(label.x) * side;
    const double y = static_cast<double>(label.y) * side;
    const double width = static_cast<double>(label.width) * side;
    const double height = static_cast<double>(label.height) * side;
    tiles.at(static_cast<size_t>(label.image))
        .boxes.push_back({{x - width / 2, y - height / 2, x + width / 2, y + height / 2},
                          static_cast<int>(class_id),
                          class_id < names.size() ? names[class_id] : std::to_string(class_id)});
  }
  return tiles;
}

}  // namespace yoloquant::data
