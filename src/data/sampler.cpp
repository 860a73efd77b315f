#include "data/sampler.h"

#include <numeric>

#include "base/error.h"

namespace yoloquant::data {
namespace {

uint64_t epoch_seed(uint64_t seed, int64_t epoch) {
  return splitmix64_mix(splitmix64_mix(seed) + static_cast<uint64_t>(epoch));
}

}  // namespace

std::vector<size_t> epoch_order(size_t count, uint64_t seed, int64_t epoch, bool shuffle) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  if (shuffle) Random(epoch_seed(seed, epoch) ^ fnv1a64("order")).shuffle(order);
  return order;
}

std::vector<size_t> shard_positions(size_t count, const Shard& shard) {
  if (shard.world_size < 1 || shard.rank < 0 || shard.rank >= shard.world_size) {
    fail_usage("rank {} of {} processes makes no sense", shard.rank, shard.world_size);
  }
  if (count == 0) return {};
  const auto step = static_cast<size_t>(shard.world_size);
  std::vector<size_t> positions((count + step - 1) / step);
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = (static_cast<size_t>(shard.rank) + i * step) % count;
  }
  return positions;
}

Random sample_random(uint64_t seed, int64_t epoch, size_t index) {
  return Random(splitmix64_mix(epoch_seed(seed, epoch) + fnv1a64("sample") + index));
}

}  // namespace yoloquant::data
