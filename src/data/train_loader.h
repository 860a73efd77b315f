#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/augment.h"
#include "data/label_scan.h"
#include "data/sampler.h"

namespace yoloquant::data {

// A labelled object of a batch; centre and size as parts of the input.
struct BatchLabel {
  int64_t image = 0;  // in the batch
  int64_t class_id = 0;
  float x = 0;
  float y = 0;
  float width = 0;
  float height = 0;

  bool operator==(const BatchLabel&) const = default;
};

struct TrainBatch {
  int64_t epoch = 0;
  int64_t index = 0;               // in the epoch
  int64_t count = 0;               // images; the last batch of an epoch may have fewer
  int64_t size = 0;                // pixels of a side
  std::vector<size_t> samples;     // [count] numbers of the images in the data set
  std::vector<uint8_t> pixels;     // [count, 3, size, size], RGB, 0..255
  std::vector<BatchLabel> labels;  // by image

  // The network's input: pixels / 255 as float32. REQUIRES: input.size() is pixels.size(); throws
  // Error otherwise.
  void to_float(std::span<float> input) const;
};

struct TrainLoaderOptions {
  int image_size = 640;
  int batch_size = 16;  // of this process
  uint64_t seed = 0;
  bool shuffle = true;
  Shard shard = {};
  AugmentOptions augment = {};
  int threads = 1;   // workers; <= 0: all CPUs
  int prefetch = 2;  // batches ready or in work beyond the one handed out
  // Partners for mosaic and mixup are drawn from the last this many images of the epoch's order
  // (the first ones, at its start), which are likely decoded already: as Ultralytics' buffer does.
  // 0: 8 global batches, at most 1000.
  size_t partner_window = 0;
  size_t cache_bytes = size_t{512} << 20;  // of decoded and resized images
};

// Gives the batches of training epochs, made by worker threads ahead of their use. What it gives
// depends on the data, the seed, the epoch, and the options above `threads` and partner_window:
// not on the threads, the prefetch or the cache. With equal global batches (batch_size x
// world_size) that divide the images evenly, all processes together give what one would, but for
// the order within a batch.
//
//   TrainLoader loader(images, options);
//   loader.start(epoch);
//   TrainBatch batch;                   // its buffers are used again by the next call
//   while (loader.next(batch)) ...
class TrainLoader {
 public:
  // Throws Error (usage) for options that make no sense.
  TrainLoader(std::vector<LabeledImage> images, const TrainLoaderOptions& options);
  ~TrainLoader();  // stops the workers, also in the middle of an epoch
  TrainLoader(const TrainLoader&) = delete;
  TrainLoader& operator=(const TrainLoader&) = delete;

  // Of one process in an epoch.
  int64_t batches() const;

  // Begins an epoch at batch `first_batch`, also in the middle of another one. `close_mosaic`: one
  // of the last epochs, without mosaic and mixup. Throws Error (usage) for a batch beyond the last.
  void start(int64_t epoch, int64_t first_batch = 0, bool close_mosaic = false);

  // The next batch, or false at the end of the epoch. Throws what making it threw, such as the
  // Error of an image that can no longer be read; the call after that goes on with the following
  // batch.
  bool next(TrainBatch& batch);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace yoloquant::data
