#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace yoloquant::data {

// Which process of a data-parallel job this is.
struct Shard {
  int rank = 0;
  int world_size = 1;
};

// The order in which an epoch goes through `count` samples, the same in every process: shuffled by
// (seed, epoch), or as they are.
std::vector<size_t> epoch_order(size_t count, uint64_t seed, int64_t epoch, bool shuffle);

// Positions in the order that a process takes, after PyTorch's DistributedSampler without
// drop_last: rank, rank + world_size, ...; all have equally many, ceil(count / world_size), for
// which the order starts again where it ends. Batch b of all processes together is thus batch b of
// one process with the batch size world_size times as large.
std::vector<size_t> shard_positions(size_t count, const Shard& shard);

// The random numbers of a sample: a function of these three alone.
Random sample_random(uint64_t seed, int64_t epoch, size_t index);

}  // namespace yoloquant::data
