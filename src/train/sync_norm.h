#pragma once

#include "train/process_group.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

// Batch norm over the images of all ranks (SyncBN), for TrainableGraph::set_norm_hook: mean and
// variance are those of the whole batch, running statistics are the same on all ranks, and the
// gradients of inputs take into account what they change on other ranks. Gradients of weight and
// bias are each rank's share, to be summed. One collective in forward and one in backward.
//
// REQUIRES: `group` outlives the hook and every backward through it.
// Follows: torch.nn.SyncBatchNorm; Ioffe, Szegedy 2015 for the gradient.
NormHook synchronized_norm(ProcessGroup& group);

}  // namespace yoloquant::train
