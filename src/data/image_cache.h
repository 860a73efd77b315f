#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "data/image.h"

namespace yoloquant::data {

// Decoded images by number, the least recently used dropped first. Safe to use from many threads.
class ImageCache {
 public:
  // Keeps at most `max_bytes` of pixels. Images that are still in use elsewhere are not counted
  // once they are dropped.
  explicit ImageCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Image `index`, made by `load` when it is not at hand. What `load` throws is thrown on, and
  // nothing is kept. Two threads that ask for one missing image at once may both load it.
  std::shared_ptr<const Image> get(size_t index, const std::function<Image()>& load);

  size_t bytes() const;

 private:
  struct Entry {
    std::shared_ptr<const Image> image;
    std::list<size_t>::iterator place;
  };

  std::shared_ptr<const Image> find(size_t index);
  void add(size_t index, const std::shared_ptr<const Image>& image);

  size_t max_bytes_;
  mutable std::mutex mutex_;
  size_t bytes_ = 0;
  std::list<size_t> order_;  // most recently used first
  std::unordered_map<size_t, Entry> entries_;
};

}  // namespace yoloquant::data
