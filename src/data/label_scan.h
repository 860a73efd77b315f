#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/coco_dataset.h"
#include "data/image_list.h"
#include "data/yolo_labels.h"

namespace yoloquant::data {

// An image to train on.
struct LabeledImage {
  std::filesystem::path image;
  int width = 0;  // pixels, as decoded
  int height = 0;
  std::vector<YoloLabel> labels;
};

struct LabelScan {
  std::vector<LabeledImage> images;   // the good ones, in the list's order
  std::vector<std::string> problems;  // a line "FILE: what is wrong" a broken image or label file
  size_t without_label_file = 0;      // of the good images
  size_t without_objects = 0;         // of the good images, those without a label file included
  size_t duplicates = 0;              // label rows that were dropped
  size_t from_cache = 0;              // images that were not read again
  // SHA-256 over the contents of the good images and their label files, in order: says which data a
  // model was trained on, wherever the files lie.
  std::string sha256;
};

struct ScanOptions {
  int threads = 1;                   // <= 0: all
  std::filesystem::path cache = {};  // file for what was read, see label_cache.h; "": none
  Progress* progress = nullptr;
};

// Decodes every image and reads its label file (label_path). Broken ones are left out, and reported
// once: an image that cannot be decoded or has a side below 10 pixels, a label file that
// parse_yolo_labels refuses. An image without a label file has no objects. With a cache, files of
// unchanged size and time are not read again. Throws Error when no good image is left.
LabelScan scan_labels(const ImageList& images, int classes, const ScanOptions& options = {});

// Labels as annotations in COCO's form, for COCO's metrics. Image ids count from 1 in the list's
// order; category ids are class numbers.
CocoDataset to_coco_dataset(std::span<const LabeledImage> images,
                            std::span<const std::string> names);

}  // namespace yoloquant::data
