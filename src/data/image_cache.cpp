#include "data/image_cache.h"

namespace yoloquant::data {

std::shared_ptr<const Image> ImageCache::get(size_t index, const std::function<Image()>& load) {
  if (auto found = find(index)) return found;
  auto loaded = std::make_shared<const Image>(load());
  add(index, loaded);
  return loaded;
}

size_t ImageCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::shared_ptr<const Image> ImageCache::find(size_t index) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(index);
  if (found == entries_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second.place);
  return found->second.image;
}

void ImageCache::add(size_t index, const std::shared_ptr<const Image>& image) {
  const std::lock_guard lock(mutex_);
  if (image->bgr.size() > max_bytes_ || entries_.contains(index)) return;
  while (bytes_ + image->bgr.size() > max_bytes_) {
    const auto oldest = entries_.find(order_.back());
    bytes_ -= oldest->second.image->bgr.size();
    entries_.erase(oldest);
    order_.pop_back();
  }
  order_.push_front(index);
  entries_[index] = {image, order_.begin()};
  bytes_ += image->bgr.size();
}

}  // namespace yoloquant::data
