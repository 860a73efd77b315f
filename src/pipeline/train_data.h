#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/coco_dataset.h"
#include "data/label_scan.h"
#include "pipeline/train.h"

// Internal to the layer: the data of a training.
namespace yoloquant::pipeline {

struct TrainData {
  std::vector<std::string> names;
  data::LabelScan train;
  data::LabelScan val;
  // What detections on val.images are scored against: COCO's own annotations where there are some.
  data::CocoDataset truth;
  std::vector<int64_t> val_ids;       // in `truth`, of val.images
  nlohmann::ordered_json provenance;  // sources, counts and hashes
  std::vector<std::string> warnings;
};

// Reads and checks all images and labels. Below `folder` it keeps caches of that, the lists of
// images, data.json (the provenance), problems.txt when there are any, and the labels made of a
// COCO data set. Throws Error (usage) unless exactly one source is given.
//
// Of several processes one `writes`. The others, after it, take what it has found from the caches
// and do without `truth`.
TrainData open_train_data(const TrainDataOptions& options, const std::filesystem::path& folder,
                          int threads, Progress& progress, bool writes = true);

}  // namespace yoloquant::pipeline
