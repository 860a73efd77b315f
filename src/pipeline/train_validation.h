#pragma once

#include <vector>

#include "base/progress.h"
#include "data/batch_drawing.h"
#include "pipeline/train_data.h"
#include "train/trainer.h"

// Internal to the layer: how good a model in training is.
namespace yoloquant::pipeline {

struct Validation {
  train::LossItems losses{};  // means over the batches
  double precision = 0;       // at the score of the best F1, IoU .5
  double recall = 0;
  double map50 = 0;
  double map = 0;                 // 50-95
  std::vector<data::Tile> tiles;  // the first images with what was detected above .25
};

struct ValidationOptions {
  int64_t image_size = 640;
  int64_t batch = 16;
  train::EvaluatedHead head = train::EvaluatedHead::kOneToOne;
  int threads = 1;  // that read images and score; <= 0: all
};

// Losses and COCO figures of the head (one2one without NMS, one2many with it) on letterboxed
// validation images, with the weights that the trainer holds now (see Trainer::Averaged).
Validation validate(train::Trainer& trainer, const TrainData& data,
                    const ValidationOptions& options, Progress& progress);

}  // namespace yoloquant::pipeline
