#include "data/prepared_images.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"

namespace yoloquant::data {
namespace {

// One place of the ring: image i goes through place i % places.
struct Place {
  PreparedImage image;
  std::exception_ptr error;
  bool ready = false;
};

}  // namespace

struct PreparedImages::Shared {
  ImageList list;
  int width;
  int height;
  std::vector<Place> places;

  std::mutex mutex;
  std::condition_variable place_ready;
  std::condition_variable place_free;
  size_t started = 0;  // images that a thread has taken
  size_t handed_out = 0;
  bool stop = false;
  std::vector<std::jthread> threads;

  void prepare(size_t index, Place& place) {
    place.error = nullptr;
    place.image.index = index;
    place.image.path = list[index];
    try {
      const Image image = read_image(list[index]);
      place.image.input.resize(3 * static_cast<size_t>(width) * static_cast<size_t>(height));
      place.image.letterbox = letterbox(image, width, height, place.image.input);
    } catch (...) {
      place.error = std::current_exception();
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      place_free.wait(lock, [&] {
        return stop || started == list.size() || started < handed_out + places.size();
      });
      if (stop || started == list.size()) return;
      const size_t index = started++;
      Place& place = places[index % places.size()];
      lock.unlock();
      prepare(index, place);
      lock.lock();
      place.ready = true;
      place_ready.notify_one();
    }
  }
};

PreparedImages::PreparedImages(ImageList list, const LoaderOptions& options)
    : shared_(std::make_unique<Shared>()) {
  constexpr int kMaxSide = 1 << 14;
  if (options.input_width <= 0 || options.input_height <= 0 || options.input_width > kMaxSide ||
      options.input_height > kMaxSide) {
    fail_usage("input size {}x{} is not in 1..{}", options.input_width, options.input_height,
               kMaxSide);
  }
  const int threads = options.threads > 0 ? options.threads : default_threads();
  const int look_ahead = options.look_ahead > 0 ? options.look_ahead : 2 * threads;
  shared_->list = std::move(list);
  shared_->width = options.input_width;
  shared_->height = options.input_height;
  shared_->places.resize(static_cast<size_t>(look_ahead));
  for (int i = 0; i < threads; ++i) {
    shared_->threads.emplace_back([shared = shared_.get()] { shared->work(); });
  }
}

PreparedImages::~PreparedImages() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->place_free.notify_all();
  shared_->threads.clear();  // joins
}

size_t PreparedImages::size() const { return shared_->list.size(); }

bool PreparedImages::next(PreparedImage& image) {
  Shared& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  if (shared.handed_out == shared.list.size()) return false;
  Place& place = shared.places[shared.handed_out % shared.places.size()];
  shared.place_ready.wait(lock, [&] { return place.ready; });
  std::swap(image, place.image);  // the caller's buffer takes its place
  const std::exception_ptr error = std::exchange(place.error, nullptr);
  place.ready = false;
  ++shared.handed_out;
  shared.place_free.notify_all();
  lock.unlock();
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace yoloquant::data
