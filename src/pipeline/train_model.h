#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "graph/graph.h"
#include "pipeline/train.h"

// Internal to the layer: the model of a training.
namespace yoloquant::pipeline {

struct TrainModel {
  graph::Graph graph;                  // both heads, batch norms unfolded
  checkpoint::Checkpoint description;  // all that its checkpoints say of the model, no weights
  std::string sha256;                  // of what it was made from
  std::vector<std::string> warnings;
};

// The model of the options for these classes: fresh weights by seed for a definition, those of a
// checkpoint, of which only what fits is taken when it has other classes.
TrainModel open_train_model(const TrainOptions& options, const std::vector<std::string>& names);

// The float model that a training with quantizers is taught by: options.qat->teacher, or the model
// itself as it is before training. Throws Error (usage) for one of other classes or layers.
graph::Graph open_teacher(const TrainOptions& options, const TrainModel& model);

}  // namespace yoloquant::pipeline
