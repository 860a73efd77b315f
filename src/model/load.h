#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/checkpoint.h"
#include "graph/graph.h"
#include "model/definition.h"

namespace yoloquant::model {

// The definition that a checkpoint's weights belong to: the one inside it (`yaml`), with its scale
// and class count; without one, the built-in definition whose parameters have just these names and
// shapes, its class count taken from the last conv of the head. `name` is for messages. Throws
// Error that says what the checkpoint has when nothing fits.
Definition definition_of(const checkpoint::Checkpoint& checkpoint, const std::string& name);

// The training graph of a checkpoint with its weights, class names and strides (see model.h).
graph::Graph from_checkpoint(const checkpoint::Checkpoint& checkpoint, const std::string& name,
                             int64_t image_height = 640, int64_t image_width = 640);

}  // namespace yoloquant::model
