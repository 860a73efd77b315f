#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "data/image_list.h"
#include "data/letterbox.h"

namespace yoloquant::data {

// An image as the network takes it.
struct PreparedImage {
  size_t index = 0;  // in the list
  std::filesystem::path path;
  Letterbox letterbox;
  std::vector<float> input;  // [3, input_height, input_width], see letterbox()
};

struct LoaderOptions {
  int input_width = 640;
  int input_height = 640;
  int threads = 1;     // <= 0: all
  int look_ahead = 0;  // images ready or in work beyond the one handed out; 0: twice the threads
};

// Reads, decodes and letterboxes images on threads of its own and hands them out in the list's
// order. Memory is bounded by look_ahead, whatever the length of the list.
//
//   PreparedImages images(list, options);
//   PreparedImage image;              // its buffer is used again by the next call
//   while (images.next(image)) ...
class PreparedImages {
 public:
  PreparedImages(ImageList list, const LoaderOptions& options);
  ~PreparedImages();  // stops the threads, also before the end
  PreparedImages(const PreparedImages&) = delete;
  PreparedImages& operator=(const PreparedImages&) = delete;

  size_t size() const;

  // The next image, or false at the end. Throws the Error that reading it gave; the call after that
  // goes on with the following image.
  bool next(PreparedImage& image);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace yoloquant::data
