#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/train_loader.h"

namespace yoloquant::data {

// An image with what is to be drawn on it, in its pixels.
struct Tile {
  Image image;
  std::vector<LabeledBox> boxes;
  std::string title = {};  // above the image; ASCII
};

struct GridOptions {
  size_t max_tiles = 16;
  int columns = 0;      // 0: ceil(sqrt(tiles))
  int max_side = 1920;  // pixels of the whole picture; larger ones are shrunk
};

// The first tiles in rows, with their boxes and thin lines between them: what train_batch0.jpg,
// val_batch0_pred.jpg and a run's pictures.jpg show. Smaller tiles lie at the top left of their
// cell. Throws Error when there is none.
Image draw_grid(std::span<const Tile> tiles, const GridOptions& options = {});

// The images of a batch with their labels; a class without a name is shown by its number.
std::vector<Tile> batch_tiles(const TrainBatch& batch, std::span<const std::string> names);

}  // namespace yoloquant::data
