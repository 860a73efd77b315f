#include "data/train_loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "data/image_cache.h"
#include "data/train_sample.h"

namespace yoloquant::data {
namespace {

// A batch under construction: batch b goes through place b % places.
struct Place {
  TrainBatch batch;
  std::vector<std::vector<BatchLabel>> labels;  // by image, joined in the end
  std::vector<std::exception_ptr> errors;       // by image
  size_t missing = 0;                           // images that are not made yet
};

std::vector<BatchLabel> normalized(const Sample& sample, int64_t image) {
  std::vector<BatchLabel> labels;
  const double width = sample.image.width;
  const double height = sample.image.height;
  for (const ObjectBox& object : sample.objects) {
    const Box& box = object.box;
    labels.push_back({.image = image,
                      .class_id = object.class_id,
                      .x = static_cast<float>((box.x1 + box.x2) / 2 / width),
                      .y = static_cast<float>((box.y1 + box.y2) / 2 / height),
                      .width = static_cast<float>(box.width() / width),
                      .height = static_cast<float>(box.height() / height)});
  }
  return labels;
}

void check_options(const TrainLoaderOptions& options) {
  const auto check = [](const char* name, int value, int most) {
    if (value < 1 || value > most) fail_usage("{} is {}: it must lie in 1..{}", name, value, most);
  };
  check("image size", options.image_size, 1 << 13);
  check("batch size", options.batch_size, 1 << 16);
  check("prefetch", options.prefetch, 1 << 10);
  check_augmentation(options.augment);
}

}  // namespace

void TrainBatch::to_float(std::span<float> input) const {
  if (input.size() != pixels.size()) {
    fail("the input has {} values instead of {}", input.size(), pixels.size());
  }
  for (size_t i = 0; i < pixels.size(); ++i) input[i] = static_cast<float>(pixels[i]) / 255.0F;
}

struct TrainLoader::Shared {
  Shared(std::vector<LabeledImage> all_images, const TrainLoaderOptions& all_options)
      : images(std::move(all_images)),
        options(all_options),
        cache(all_options.cache_bytes),
        positions(shard_positions(images.size(), all_options.shard)),
        batch_size(static_cast<size_t>(all_options.batch_size)),
        places(static_cast<size_t>(all_options.prefetch)) {}

  const std::vector<LabeledImage> images;
  const TrainLoaderOptions options;
  ImageCache cache;
  const std::vector<size_t> positions;  // in the order of the epoch, see shard_positions
  const size_t batch_size;

  // Of the epoch; the workers only read them.
  int64_t epoch = 0;
  AugmentOptions augment;
  std::vector<size_t> order;

  std::mutex mutex;
  std::condition_variable image_done;
  std::condition_variable place_free;
  std::vector<Place> places;
  size_t next_image = 0;  // in `positions`: the next one that a worker takes
  size_t next_batch = 0;  // the next one to be handed out
  bool stop = false;
  std::vector<std::thread> threads;

  size_t batches() const { return (positions.size() + batch_size - 1) / batch_size; }
  size_t images_of(size_t batch) const {
    return std::min(batch_size, positions.size() - batch * batch_size);
  }

  size_t image_bytes() const {
    return 3 * static_cast<size_t>(options.image_size) * static_cast<size_t>(options.image_size);
  }

  // By the caller's thread, where running out of memory is an exception as any other.
  void reserve(Place& place) const {
    place.missing = 1;  // not opened yet
    place.batch.pixels.resize(batch_size * image_bytes());
  }

  LabeledView load(size_t index) {
    const LabeledImage& entry = images[index];
    auto image = cache.get(
        index, [&] { return resize_longer_side(read_image(entry.image), options.image_size); });
    return {std::move(image), entry.labels};
  }

  // The last images of the order before a position and at it; at the start of the epoch the first.
  size_t draw_partner(size_t position, Random& random) const {
    size_t window = options.partner_window;
    if (window == 0) {
      window =
          std::min<size_t>(1000, 8 * batch_size * static_cast<size_t>(options.shard.world_size));
    }
    window = std::min(window, order.size());
    const size_t first = std::max(position + 1, window) - window;
    return order[first + random.below(window)];
  }

  void make_image(size_t number, Place& place, size_t slot) {
    const size_t position = positions[number];
    const size_t index = order[position];
    const SampleSource source{
        [this](size_t i) { return load(i); },
        [this, position](Random& random) { return draw_partner(position, random); }};
    const Sample sample = make_sample(source, index, options.image_size, augment,
                                      sample_random(options.seed, epoch, index));
    place.batch.samples[slot] = index;
    to_planes(sample.image,
              std::span(place.batch.pixels).subspan(slot * image_bytes(), image_bytes()));
    place.labels[slot] = normalized(sample, static_cast<int64_t>(slot));
  }

  // Called with the lock held, for the first image of a batch.
  void open_batch(size_t batch, Place& place) {
    const size_t count = images_of(batch);
    place.batch.epoch = epoch;
    place.batch.index = static_cast<int64_t>(batch);
    place.batch.count = static_cast<int64_t>(count);
    place.batch.size = options.image_size;
    place.batch.samples.assign(count, 0);
    place.batch.pixels.resize(count * image_bytes());  // shrinks the last one, see reserve
    place.labels.assign(count, {});
    place.errors.assign(count, nullptr);
    place.missing = count;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      place_free.wait(lock, [&] {
        return stop || next_image == positions.size() ||
               next_image / batch_size < next_batch + places.size();
      });
      if (stop || next_image == positions.size()) return;
      const size_t number = next_image++;
      Place& place = places[number / batch_size % places.size()];
      const size_t slot = number % batch_size;
      if (slot == 0) open_batch(number / batch_size, place);
      lock.unlock();
      std::exception_ptr error;
      try {
        make_image(number, place, slot);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      place.errors[slot] = error;
      if (--place.missing == 0) image_done.notify_one();
    }
  }

  void stop_threads() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    place_free.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    stop = false;
  }
};

TrainLoader::TrainLoader(std::vector<LabeledImage> images, const TrainLoaderOptions& options) {
  check_options(options);
  if (images.empty()) fail_usage("there is no image to train on");
  shared_ = std::make_unique<Shared>(std::move(images), options);
  shared_->next_image = shared_->positions.size();  // nothing to do before start()
  shared_->next_batch = shared_->batches();
}

TrainLoader::~TrainLoader() { shared_->stop_threads(); }

int64_t TrainLoader::batches() const { return static_cast<int64_t>(shared_->batches()); }

void TrainLoader::start(int64_t epoch, int64_t first_batch, bool close_mosaic) {
  Shared& shared = *shared_;
  if (epoch < 0 || first_batch < 0 || first_batch > batches()) {
    fail_usage("batch {} of epoch {}: an epoch has {} batches", first_batch, epoch, batches());
  }
  shared.stop_threads();
  const TrainLoaderOptions& options = shared.options;
  shared.epoch = epoch;
  shared.augment = close_mosaic ? options.augment.without_mosaic() : options.augment;
  shared.order = epoch_order(shared.images.size(), options.seed, epoch, options.shuffle);
  shared.next_batch = static_cast<size_t>(first_batch);
  shared.next_image = std::min(shared.next_batch * shared.batch_size, shared.positions.size());
  for (Place& place : shared.places) shared.reserve(place);
  const int threads = options.threads > 0 ? options.threads : default_threads();
  for (int i = 0; i < threads; ++i) shared.threads.emplace_back([&shared] { shared.work(); });
}

bool TrainLoader::next(TrainBatch& batch) {
  Shared& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  if (shared.next_batch == shared.batches()) return false;
  Place& place = shared.places[shared.next_batch % shared.places.size()];
  shared.image_done.wait(lock, [&] { return place.missing == 0; });
  std::swap(batch, place.batch);  // the caller's buffers take its place
  batch.labels.clear();
  for (const auto& labels : place.labels) {
    batch.labels.insert(batch.labels.end(), labels.begin(), labels.end());
  }
  const auto failed =
      std::ranges::find_if(place.errors, [](const auto& e) { return e != nullptr; });
  const std::exception_ptr error = failed != place.errors.end() ? *failed : nullptr;
  place.errors.clear();
  shared.reserve(place);
  ++shared.next_batch;
  shared.place_free.notify_all();
  lock.unlock();
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace yoloquant::data
