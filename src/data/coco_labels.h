#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/data_yaml.h"

namespace yoloquant::data {

struct CocoLabelOptions {
  std::string train_split = "train2017";
  std::string val_split = "val2017";
  double fraction = 1;  // of the training images, see draw_fraction
  uint64_t seed = 0;    // which ones
};

// What became of a split.
struct CocoLabelCounts {
  size_t images = 0;
  size_t objects = 0;
  size_t crowds = 0;       // annotations dropped: they outline groups
  size_t empty_boxes = 0;  // annotations dropped: no width or height
  size_t clipped = 0;      // boxes that reached more than half a percent out of the image
  // Images of the JSON that are not on disk: left out, and no part of the fraction.
  size_t missing_images = 0;
  std::filesystem::path first_missing;
};

struct CocoLabels {
  DataYaml data;
  CocoLabelCounts train;
  CocoLabelCounts val;
};

// Makes a data set in Ultralytics' form of one in COCO's (see CocoDataset::open):
//   FOLDER/images/SPLIT/   links to the images of COCO_ROOT
//   FOLDER/labels/SPLIT/   their label files; class i is the i-th category by id
//   FOLDER/data.yaml       written last
//   FOLDER/source.json     what it was made of, with hashes
// Nothing is written below COCO_ROOT. A box is (left + width / 2) / image width and so on, with all
// digits of a double. Called again for the same set, it only puts right what is missing or differs.
// Throws Error when FOLDER holds something else, the two splits differ in their categories, a file
// name leads out of its folder, or no image is there.
CocoLabels write_coco_labels(const std::filesystem::path& coco_root,
                             const std::filesystem::path& folder,
                             const CocoLabelOptions& options = {});

}  // namespace yoloquant::data
